package traffic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// small are the situations that every test walks through.
var small = []Config{
	{Shape: Keepalive, Flows: 3, Packets: 41},
	{Shape: Keepalive, Flows: 7, Packets: 200, Begin: Handshake, VLAN: 7, Format: PCAPNano},
	{Shape: Keepalive, Flows: 10, Packets: 300, Begin: HandshakeData, IPv6: true, Format: PCAPNG},
	{Shape: Keepalive, Flows: 20, Packets: 200, Scatter: true, Seed: 9},
	{Shape: Keepalive, Flows: 2000, Packets: 9000, Interval: time.Second, RTT: 20 * time.Millisecond},
	{Shape: Bulk, Flows: 4, Packets: 100, Begin: HandshakeData},
	{Shape: Bulk, Flows: 1, Packets: 31, IPv6: true, VLAN: 9, Format: PCAPNG},
	{Shape: Churn, Flows: 10, Packets: 120},
	{Shape: Churn, Flows: 95, Packets: 5000, Format: PCAPNG},
	{Shape: Churn, Flows: 20, Packets: 700, Pair: true},
}

func name(c Config) string {
	family := "IPv4"
	if c.IPv6 {
		family = "IPv6"
	}
	return fmt.Sprintf("%v %d flows %v %s %v", c.Shape, c.Flows, c.Begin, family, c.Format)
}

func write(t *testing.T, c Config) ([]byte, Truth) {
	t.Helper()
	var b bytes.Buffer
	truth, err := Write(&b, c)
	if err != nil {
		t.Fatalf("Write(%+v): %v", c, err)
	}
	return b.Bytes(), truth
}

func TestSameConfigSameOctets(t *testing.T) {
	for _, c := range small {
		one, truthOne := write(t, c)
		two, truthTwo := write(t, c)
		if !bytes.Equal(one, two) || truthOne != truthTwo {
			t.Errorf("%s: two runs differ: %+v, %+v", name(c), truthOne, truthTwo)
		}
		c.Seed++
		if other, _ := write(t, c); bytes.Equal(one, other) {
			t.Errorf("%s: another seed gives the same octets", name(c))
		}
	}
}

func TestTruthByArithmetic(t *testing.T) {
	for _, tc := range []struct {
		c    Config
		want Truth
	}{
		{Config{Shape: Keepalive, Flows: 3, Packets: 41}, Truth{Packets: 41, Flows: 3, Probes: 21, Answers: 20}},
		{Config{Shape: Keepalive, Flows: 10, Packets: 100, Begin: HandshakeData},
			Truth{Packets: 100, Flows: 10, SYNs: 10, Probes: 15, Answers: 15, Segments: 20, Octets: 20 * 21}},
		{Config{Shape: Bulk, Flows: 2, Packets: 12}, Truth{Packets: 12, Flows: 2, Segments: 8, Octets: 8 * 1448}},
		// Turn n shows n+1 groups of one connection each; 45 frames fill up, then each turn ends one.
		{Config{Shape: Churn, Flows: 10, Packets: 45 + 30},
			Truth{Packets: 75, Flows: 12, Closed: 3, SYNs: 12, Segments: 9 + 7, Octets: 9*uint64(len(requestText)) + 7*uint64(len(responseText))}},
	} {
		_, got := write(t, tc.c)
		got.Size, got.First, got.Last = 0, time.Time{}, time.Time{}
		if got != tc.want {
			t.Errorf("%s, %d packets: got %+v, want %+v", name(tc.c), tc.c.Packets, got, tc.want)
		}
	}
}

// A direction is what the test has seen of one side of a flow.
type direction struct {
	next, acked uint32
	known, acks bool // seen at all; with an ACK
	val         uint32
}

// walk reads a capture as an independent reader would: by its own offsets, with
// every checksum computed over the whole header and payload.
func walk(t *testing.T, capture []byte, visit func(at int64, f frameSeen)) {
	t.Helper()
	le := binary.LittleEndian
	switch magic := le.Uint32(capture); magic {
	case 0xa1b2c3d4, 0xa1b23c4d:
		unit := int64(1000)
		if magic == 0xa1b23c4d {
			unit = 1
		}
		for b := capture[24:]; len(b) > 0; {
			n := le.Uint32(b[8:])
			visit(int64(le.Uint32(b))*1e9+int64(le.Uint32(b[4:]))*unit, parseFrame(t, b[16:16+n]))
			b = b[16+n:]
		}
	default:
		for b := capture; len(b) > 0; {
			length := le.Uint32(b[4:])
			if trailer := le.Uint32(b[length-4:]); trailer != length {
				t.Fatalf("block of length %d ends with length %d", length, trailer)
			}
			if le.Uint32(b) == 6 {
				n := le.Uint32(b[20:])
				visit(int64(le.Uint32(b[12:]))<<32|int64(le.Uint32(b[16:])), parseFrame(t, b[28:28+n]))
			}
			b = b[length:]
		}
	}
}

type frameSeen struct {
	src, dst   string // address and port
	seq, ack   uint32
	flags      byte
	payload    int
	val, ecr   uint32
	timestamps bool
}

func parseFrame(t *testing.T, b []byte) frameSeen {
	t.Helper()
	be := binary.BigEndian
	kind, ip := be.Uint16(b[12:]), b[14:]
	if kind == 0x8100 {
		kind, ip = be.Uint16(b[16:]), b[18:]
	}
	var src, dst, seg []byte
	switch kind {
	case 0x0800:
		if sumOf(ip[:20]) != 0xffff {
			t.Fatalf("IP header checksum wrong: % x", ip[:20])
		}
		src, dst, seg = ip[12:16], ip[16:20], ip[20:be.Uint16(ip[2:])]
	case 0x86dd:
		src, dst, seg = ip[8:24], ip[24:40], ip[40:40+int(be.Uint16(ip[4:]))]
	default:
		t.Fatalf("EtherType %#04x", kind)
	}
	pseudo := append(append(append([]byte{}, src...), dst...), 0, 6, byte(len(seg)>>8), byte(len(seg)))
	if sumOf(append(pseudo, seg...)) != 0xffff {
		t.Fatalf("TCP checksum wrong: % x", seg)
	}
	header := int(seg[12]>>4) * 4
	f := frameSeen{
		src: fmt.Sprintf("%x:%d", src, be.Uint16(seg)), dst: fmt.Sprintf("%x:%d", dst, be.Uint16(seg[2:])),
		seq: be.Uint32(seg[4:]), ack: be.Uint32(seg[8:]), flags: seg[13], payload: len(seg) - header,
	}
	for o := seg[20:header]; len(o) > 0; {
		switch o[0] {
		case 1:
			o = o[1:]
			continue
		case 8:
			f.timestamps, f.val, f.ecr = true, be.Uint32(o[2:]), be.Uint32(o[6:])
		}
		o = o[o[1]:]
	}
	return f
}

// sumOf is the checksum of RFC 1071 over b, carries added as they come.
func sumOf(b []byte) uint16 {
	var s uint32
	for i, x := range b {
		if i%2 == 0 {
			s += uint32(x) << 8
		} else {
			s += uint32(x)
		}
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func TestEveryFrameIsWhatTCPWouldSend(t *testing.T) {
	for _, c := range small {
		for _, serverSide := range []bool{false, true} {
			c.ServerSide = serverSide
			capture, truth := write(t, c)
			if uint64(len(capture)) != truth.Size {
				t.Errorf("%s: %d octets written, truth says %d", name(c), len(capture), truth.Size)
			}
			checkConversations(t, name(c), capture, truth)
		}
	}
}

func checkConversations(t *testing.T, what string, capture []byte, truth Truth) {
	t.Helper()
	var seen Truth
	var before int64
	sides := map[string]*direction{}
	side := func(from, to string) *direction {
		d := sides[from+">"+to]
		if d == nil {
			d = &direction{}
			sides[from+">"+to] = d
		}
		return d
	}
	walk(t, capture, func(at int64, f frameSeen) {
		seen.Packets++
		if at < before {
			t.Errorf("%s: frame %d goes back in time", what, seen.Packets)
		}
		before = at
		me, peer := side(f.src, f.dst), side(f.dst, f.src)
		if f.flags&flagSYN == 0 && me.known {
			checkPositions(t, fmt.Sprintf("%s: frame %d %+v", what, seen.Packets, f), f, me, peer)
		}
		if !f.timestamps || me.known && int32(f.val-me.val) < 0 || peer.known && f.flags&flagACK != 0 && int32(f.ecr-peer.val) > 0 {
			t.Errorf("%s: frame %d: timestamps %d %d after %d, peer's %d", what, seen.Packets, f.val, f.ecr, me.val, peer.val)
		}
		end := f.seq + uint32(f.payload)
		if f.flags&(flagSYN|flagFIN) != 0 {
			end++
		}
		if !me.known || int32(end-me.next) > 0 {
			me.next = end
		}
		if !me.known && truth.SYNs+truth.Segments == 0 && strings.HasSuffix(f.dst, ":22") {
			me.next = end + 1 // the first thing seen of this client is a probe
		}
		me.known, me.acks, me.acked, me.val = true, f.flags&flagACK != 0, f.ack, f.val
	})
	if seen.Packets != truth.Packets || uint64(len(sides)+1)/2 != truth.Flows {
		t.Errorf("%s: %d frames, %d directions, truth %+v", what, seen.Packets, len(sides), truth)
	}
}

// checkPositions asks for a segment at SND.NXT, or one below for a probe of
// what is acknowledged, and for an ACK that neither goes back nor runs ahead.
func checkPositions(t *testing.T, what string, f frameSeen, me, peer *direction) {
	t.Helper()
	isProbe := f.payload == 0 && f.flags == flagACK && f.seq == me.next-1
	if isProbe && peer.known && peer.acked != me.next {
		t.Errorf("%s: probes an octet that is not acknowledged: %d, next %d", what, peer.acked, me.next)
	}
	if !isProbe && f.seq != me.next {
		t.Errorf("%s: sequence number, want %d", what, me.next)
	}
	if me.acks && int32(f.ack-me.acked) < 0 || peer.known && int32(f.ack-peer.next) > 0 {
		t.Errorf("%s: acknowledges after %d; the peer has sent up to %d", what, me.acked, peer.next)
	}
}

func TestProbesAndAnswersByTheirShape(t *testing.T) {
	c := Config{Shape: Keepalive, Flows: 30, Packets: 1000, Begin: HandshakeData}
	capture, truth := write(t, c)
	next := map[string]uint32{}
	var probes, answers uint64
	var asked string
	walk(t, capture, func(_ int64, f frameSeen) {
		switch {
		case f.flags == flagACK && f.payload == 0 && f.seq == next[f.src]-1:
			probes++
			asked = f.src
		case asked == f.dst && f.ack == next[f.dst] && f.payload == 0:
			answers++
			asked = ""
		}
		end := f.seq + uint32(f.payload)
		if f.flags&flagSYN != 0 {
			end++
		}
		if last, known := next[f.src]; !known || int32(end-last) > 0 {
			next[f.src] = end
		}
	})
	if probes != truth.Probes || answers != truth.Answers {
		t.Errorf("found %d probes and %d answers, truth says %d and %d", probes, answers, truth.Probes, truth.Answers)
	}
}

func TestBothVantagePointsSeeTheSameSegments(t *testing.T) {
	for _, c := range small {
		c.OneWay = 40 * time.Microsecond
		client, truth := write(t, c)
		c.ServerSide, c.Clock = true, 5*time.Second
		server, truthServer := write(t, c)
		truthServer.First, truthServer.Last = truth.First, truth.Last
		if truth != truthServer {
			t.Errorf("%s: truths differ: %+v, %+v", name(c), truth, truthServer)
		}
		left := map[frameSeen][]int64{}
		walk(t, client, func(at int64, f frameSeen) { left[f] = append(left[f], at) })
		walk(t, server, func(at int64, f frameSeen) {
			if len(left[f]) == 0 {
				t.Fatalf("%s: the server sees %+v, the client does not", name(c), f)
			}
			delay := time.Duration(at-left[f][0]) - c.Clock
			left[f] = left[f][1:]
			if delay.Abs().Round(2*time.Microsecond) != c.OneWay {
				t.Fatalf("%s: %+v differs by %v, want ±%v", name(c), f, delay, c.OneWay)
			}
		})
		for f, times := range left {
			if len(times) != 0 {
				t.Errorf("%s: the server does not see %+v", name(c), f)
			}
		}
	}
}

func TestTsharkAgrees(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark: the generator is not compared with Wireshark")
	}
	for _, c := range []Config{
		{Shape: Keepalive, Flows: 20, Packets: 600, Begin: HandshakeData, VLAN: 5},
		{Shape: Keepalive, Flows: 20, Packets: 600, Begin: HandshakeData, IPv6: true, Format: PCAPNG},
		{Shape: Bulk, Flows: 5, Packets: 300, Begin: Handshake, Format: PCAPNano},
		{Shape: Churn, Flows: 20, Packets: 900},
	} {
		capture, truth := write(t, c)
		file := filepath.Join(t.TempDir(), "t.pcap")
		if err := os.WriteFile(file, capture, 0o644); err != nil {
			t.Fatal(err)
		}
		for filter, want := range map[string]uint64{
			"tcp":                                  truth.Packets,
			"tcp.analysis.keep_alive":              truth.Probes,
			"tcp.analysis.keep_alive_ack":          truth.Answers,
			"tcp.flags.syn==1 && tcp.flags.ack==0": truth.SYNs,
			"tcp.len>0":                            truth.Segments,
			"tcp.analysis.flags && !tcp.analysis.keep_alive && !tcp.analysis.keep_alive_ack": 0,
			"ip.checksum.status==0 || tcp.checksum.status==0 || _ws.malformed":               0,
		} {
			cmd := exec.Command(tshark, "-n", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-r", file, "-Y", filter, "-T", "fields", "-e", "frame.number")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("tshark -Y %q: %v", filter, err)
			}
			if got := uint64(strings.Count(string(out), "\n")); got != want {
				t.Errorf("%s: tshark finds %d frames with %s, truth says %d", name(c), got, filter, want)
			}
		}
	}
}

func TestWhatMakesNoTrafficIsRefused(t *testing.T) {
	for _, c := range []Config{
		{Flows: -1}, {Packets: -1}, {VLAN: 4095}, {Flows: 60_001, Pair: true}, {Pair: true, NAT: true}, {Shape: 9}, {Begin: 9}, {Format: 9},
		{Interval: -1}, {RTT: time.Second, OneWay: time.Second / 2}, {Flows: 1000, Interval: 500 * time.Nanosecond},
		{Interval: time.Millisecond, RTT: time.Second},
	} {
		if _, err := Write(io.Discard, c); err == nil {
			t.Errorf("Write(%+v) made traffic", c)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left")

func TestErrorOfTheWriterEndsTheCapture(t *testing.T) {
	if _, err := Write(fullDisk{}, Config{Packets: 1 << 40}); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

func TestWordsRoundTrip(t *testing.T) {
	for i := range shapeWords {
		if s, err := ParseShape(Shape(i).String()); err != nil || s != Shape(i) {
			t.Errorf("ParseShape(%q) = %v, %v", Shape(i), s, err)
		}
	}
	for i := range beginWords {
		if b, err := ParseBegin(Begin(i).String()); err != nil || b != Begin(i) {
			t.Errorf("ParseBegin(%q) = %v, %v", Begin(i), b, err)
		}
	}
	for i := range formatWords {
		if f, err := ParseFormat(Format(i).String()); err != nil || f != Format(i) {
			t.Errorf("ParseFormat(%q) = %v, %v", Format(i), f, err)
		}
	}
	if _, err := ParseShape("torrent"); err == nil {
		t.Error("a word that names no shape was taken")
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, c := range []Config{
		{Shape: Keepalive, Flows: 1000},
		{Shape: Keepalive, Flows: 1_000_000},
		{Shape: Keepalive, Flows: 1000, IPv6: true, Format: PCAPNG},
		{Shape: Bulk, Flows: 1000},
		{Shape: Churn, Flows: 1000},
	} {
		b.Run(strings.ReplaceAll(name(c), " ", "-"), func(b *testing.B) {
			c.Packets = b.N
			b.ReportAllocs()
			if _, err := Write(io.Discard, c); err != nil {
				b.Fatal(err)
			}
		})
	}
}
