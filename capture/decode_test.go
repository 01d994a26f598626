package capture

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// octets turns hexadecimal text, blanks anywhere, and octets into octets.
func octets(parts ...any) []byte {
	var out []byte
	for _, part := range parts {
		switch part := part.(type) {
		case []byte:
			out = append(out, part...)
		case string:
			b, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			if err != nil {
				panic("test octets " + part + ": " + err.Error())
			}
			out = append(out, b...)
		}
	}
	return out
}

const (
	client4, server4 = "192.0.2.1", "198.51.100.2"
	client6, server6 = "2001:db8::1", "2001:db8:ffff::2"
	outer4A, outer4B = "10.0.0.1", "10.0.0.2"
	outer6A, outer6B = "2001:db8:a::1", "2001:db8:a::2"
)

// ip4 puts an IPv4 header without options before a payload.
func ip4(protocol byte, src, dst string, parts ...any) []byte {
	return ip4Flags(protocol, 0x4000, src, dst, parts...)
}

func ip4Flags(protocol byte, fragment uint16, src, dst string, parts ...any) []byte {
	payload := octets(parts...)
	b := octets("4500 0000 1234 0000 40 00 0000",
		netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(), payload)
	b[9] = protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], fragment)
	return sumIP4(b)
}

// sumIP4 corrects the checksum of an IPv4 header.
func sumIP4(b []byte) []byte {
	size := int(b[0]&15) * 4
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^ipv4Sum(b[:size]))
	return b
}

// ip6 puts an IPv6 header before a payload.
func ip6(protocol byte, src, dst string, parts ...any) []byte {
	payload := octets(parts...)
	b := octets("60000000 0000 00 40", netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(), payload)
	b[6] = protocol
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return b
}

// udp puts a UDP header before a payload.
func udp(sport, dport uint16, parts ...any) []byte {
	payload := octets(parts...)
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)+8))
	return octets(b, "0000", payload)
}

const (
	macs      = "020000000002 020000000001"
	tcpHeader = "c822 0016 00000fff 00002000 8010 01f5 0000 0000 0101080a 00001111 00002222"
	garbage   = "41"
)

// A probe of one octet from client to server, port 51234 to 22, over IPv4 and
// IPv6.
var (
	probe4 = ip4(6, client4, server4, tcpHeader, garbage)
	probe6 = ip6(6, client6, server6, tcpHeader, garbage)
)

// probeIn returns what a frame that ends in probe4 or probe6 decodes to.
func probeIn(frame []byte, is6 bool) Packet {
	p := Packet{
		Proto: TCP, Data: uint32(len(frame) - 1), DataLen: 1, HeaderLen: 32,
		Seg: tcp.Segment{
			Seq: 0xfff, Ack: 0x2000, Flags: tcp.ACK, Win: 501, Len: 1, TTL: 64, IPID: 0x1234,
			TSVal: 0x1111, TSEcr: 0x2222, Opts: tcp.OptTimestamps, OptHash: hashNopNopTS,
		},
	}
	p.Key = ends(client4+":51234", server4+":22")
	if is6 {
		p.Seg.IPID = 0
		p.Key = ends("["+client6+"]:51234", "["+server6+"]:22")
	}
	return p
}

// ends returns the key of two ends, the lower one first.
func ends(lo, hi string) Key {
	k, reversed := MakeKey(netip.MustParseAddrPort(lo), netip.MustParseAddrPort(hi), 0)
	if reversed {
		panic("test ends " + lo + ", " + hi + " are in the wrong order")
	}
	return k
}

// hosts returns the key of two hosts, the lower one first.
func hosts(lo, hi string) Key {
	return ends(netip.AddrPortFrom(netip.MustParseAddr(lo), 0).String(), netip.AddrPortFrom(netip.MustParseAddr(hi), 0).String())
}

// decodeWhole decodes a frame that no snap length cut.
func decodeWhole(link uint32, frame []byte) Packet {
	return DecodeFrame(link, frame, uint32(len(frame)))
}

// reasons decodes a frame and returns the reasons it was counted under.
func reasons(link uint32, frame []byte, wire int) map[string]uint64 {
	var (
		d decoder
		p Packet
	)
	d.frame(link, 0, frame, uint32(wire), &p)
	return d.undecoded
}

func eth(etherType string, parts ...any) []byte {
	return octets(macs, etherType, octets(parts...))
}

func vlan(n uint16) func(*Packet) { return func(p *Packet) { p.VLAN, p.Way = n, n } }

func overlay(n uint32) func(*Packet) { return func(p *Packet) { p.Key.Overlay = n + 1 } }

// linkFrames hold a probe under every kind of link header. They seed the fuzz
// target too.
var linkFrames = []struct {
	name  string
	link  uint32
	frame []byte
	is6   bool
	but   func(*Packet)
}{
	{"Ethernet, IPv4", 1, eth("0800", probe4), false, nil},
	{"Ethernet, IPv6", 1, eth("86dd", probe6), true, nil},
	{"one VLAN tag", 1, eth("8100 a02a", "0800", probe4), false, vlan(42)},
	{"one VLAN tag, IPv6", 1, eth("8100 002a", "86dd", probe6), true, vlan(42)},
	{"QinQ: the inner tag counts", 1, eth("88a8 0064 8100 002a 0800", probe4), false, vlan(42)},
	{"QinQ before the standard", 1, eth("9100 0064 8100 002a 86dd", probe6), true, vlan(42)},
	{"three VLAN tags", 1, eth("88a8 0001 8100 0002 8100 0003 0800", probe4), false, vlan(3)},
	{"802.3 with SNAP", 1, eth("003d aaaa03 000000 0800", probe4), false, nil},
	{"802.3 with SNAP behind a VLAN tag", 1, eth("8100 0007 003d aaaa03 000000 0800", probe4), false, vlan(7)},
	{"802.3 with LLC alone", 1, eth("0038 060603", probe4), false, nil},
	{"PPPoE", 1, eth("8864 1100 0001 0037 0021", probe4), false, nil},
	{"PPPoE, IPv6", 1, eth("8864 1100 0001 004b 0057", probe6), true, nil},
	{"MPLS, two labels", 1, eth("8847 00010040 00011140", probe4), false, nil},
	{"MPLS explicit null", 1, eth("8847 00000140", probe4), false, nil},
	{"MPLS explicit null, IPv6", 1, eth("8847 00002140", probe6), true, nil},
	{"MPLS pseudowire", 1, eth("8847 00011140", macs, "0800", probe4), false, nil},
	{"MPLS pseudowire with control word", 1, eth("8847 00011140 00000000", macs, "8100 0009 0800", probe4), false, vlan(9)},
	{"Linux cooked", 113, octets("0000 0001 0006 020000000001 0000 0800", probe4), false, nil},
	{"Linux cooked, IPv6", 113, octets("0000 0001 0006 020000000001 0000 86dd", probe6), true, nil},
	{"Linux cooked, VLAN tag left in", 113, octets("0000 0001 0006 020000000001 0000 8100 0005 0800", probe4), false, vlan(5)},
	{"Linux cooked, LLC", 113, octets("0000 0001 0006 020000000001 0000 0004 aaaa03 000000 0800", probe4), false, nil},
	{"Linux cooked 2", 276, octets("0800 0000 00000002 0001 00 06 0200000000010000", probe4), false, nil},
	{"Linux cooked 2, IPv6", 276, octets("86dd 0000 00000002 0001 00 06 0200000000010000", probe6), true, nil},
	{"raw IP", 101, probe4, false, nil},
	{"raw IP, IPv6", 101, probe6, true, nil},
	{"raw IP, number 12", 12, probe4, false, nil},
	{"raw IP, number 14", 14, probe6, true, nil},
	{"raw IPv4", 228, probe4, false, nil},
	{"raw IPv6", 229, probe6, true, nil},
	{"NULL, little endian", 0, octets("02000000", probe4), false, nil},
	{"NULL, big endian", 0, octets("00000002", probe4), false, nil},
	{"NULL, IPv6 of Darwin", 0, octets("1e000000", probe6), true, nil},
	{"LOOP, IPv6 of OpenBSD", 108, octets("00000018", probe6), true, nil},
	{"PPP", 9, octets("0021", probe4), false, nil},
	{"PPP with address and control", 9, octets("ff03 0057", probe6), true, nil},
	{"PPP, compressed protocol", 9, octets("21", probe4), false, nil},
	{"PPP, MPLS", 9, octets("0281 00011140", probe4), false, nil},
	{"PPP in HDLC framing", 50, octets("ff03 0021", probe4), false, nil},
	{"PPP line with Cisco HDLC", 50, octets("0f00 0800", probe4), false, nil},
	{"PPPoE without Ethernet", 51, octets("1100 0001 0037 0021", probe4), false, nil},
	{"PPP with direction", 204, octets("01 ff03 0021", probe4), false, nil},
	{"Cisco HDLC", 104, octets("0f00 86dd", probe6), true, nil},
	{"MPLS alone", 219, octets("00011140", probe4), false, nil},
	{"Frame Relay, NLPID", 107, octets("0801 03 cc", probe4), false, nil},
	{"Frame Relay, padded SNAP", 107, octets("0801 03 00 80 000000 0800", probe4), false, nil},
	{"Frame Relay, bridged Ethernet", 107, octets("0801 03 00 80 0080c2 0007", macs, "0800", probe4), false, nil},
	{"Frame Relay, Cisco", 107, octets("0801 0800", probe4), false, nil},
	{"FDDI", 10, octets("50", macs, "aaaa03 000000 0800", probe4), false, nil},
	{"ARCNET of BSD", 7, octets("0102 d4 00 0001", probe4), false, nil},
	{"ARCNET of BSD, exception frame", 7, octets("0102 d4 ff ffff d4 00 0001", probe4), false, nil},
	{"ARCNET of Linux", 129, octets("0102 0000 d4 00 0001", probe4), false, nil},
	{"ARCNET of Linux, old type", 129, octets("0102 0000 f0", probe4), false, nil},
	{"802.11 data", 105, octets("0801 0000", macs, "020000000003 0000 aaaa03 000000 0800", probe4), false, nil},
	{"802.11 QoS data, four addresses", 105, octets("8803 0000", macs, "020000000003 0000 020000000004 0000 aaaa03 000000 86dd", probe6), true, nil},
	{"radiotap", 127, octets("00 00 0900 02000000 00 0801 0000", macs, "020000000003 0000 aaaa03 000000 0800", probe4), false, nil},
	{"radiotap, padded header", 127, octets("00 00 1100 03000000 0000000000000000 20 8801 0000", macs, "020000000003 0000 0000 0000 aaaa03 000000 0800", probe4), false, nil},
	{"PPI with Ethernet", 192, octets("00 00 0800 01000000", macs, "0800", probe4), false, nil},
	{"PPI with 802.11", 192, octets("00 00 0800 69000000 0801 0000", macs, "020000000003 0000 aaaa03 000000 0800", probe4), false, nil},
	{"Prism", 119, octets("44000000 0c000000 00000000 0801 0000", macs, "020000000003 0000 aaaa03 000000 0800", probe4), false, nil},
	{"AVS", 163, octets("80211001 0000000c 00000000 0801 0000", macs, "020000000003 0000 aaaa03 000000 0800", probe4), false, nil},
	{"NFLOG, little endian", 239, octets("02 00 0000 0800 0100 00000000 3900 0900", probe4), false, nil},
	{"NFLOG, big endian", 239, octets("02 00 0000 0008 0001 00000000 0039 0009", probe4), false, nil},
	{"PKTAP", 258, octets("0c000000 01000000 01000000", macs, "0800", probe4), false, nil},
	{"DSA tag", 284, octets(macs, "c0010000 0800", probe4), false, nil},
	{"EDSA tag", 285, octets(macs, "dada0000 c0010000 0800", probe4), false, nil},
	{"Broadcom tag", 281, octets(macs, "20000001 86dd", probe6), true, nil},
}

func TestProbeUnderEveryLink(t *testing.T) {
	for _, tt := range linkFrames {
		t.Run(tt.name, func(t *testing.T) {
			want := probeIn(tt.frame, tt.is6)
			if tt.but != nil {
				tt.but(&want)
			}
			want.Settle()
			if diff := cmp.Diff(want, decodeWhole(tt.link, tt.frame)); diff != "" {
				t.Errorf("DecodeFrame (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryOffsetCountsFromTheBatchBuffer(t *testing.T) {
	for _, tt := range linkFrames {
		var (
			d    decoder
			p    Packet
			want = decodeWhole(tt.link, tt.frame)
		)
		want.Data += 1000
		d.frame(tt.link, 1000, tt.frame, uint32(len(tt.frame)), &p)
		if p != want {
			t.Errorf("%s: frame at 1000 = %+v, want %+v", tt.name, p, want)
		}
	}
}

func TestStraightCaseAndWalkAgree(t *testing.T) {
	n := 0
	for _, tt := range linkFrames {
		for cut := range tt.frame {
			var direct, walked Packet
			frame := tt.frame[:len(tt.frame)-cut]
			if !straight(tt.link, 0, frame, &direct) {
				if direct != (Packet{}) {
					t.Errorf("%s, %d octets: straight wrote %+v and declined", tt.name, len(frame), direct)
				}
				continue
			}
			n++
			w := walk{d: new(decoder), p: &walked, b: frame, end: len(tt.frame)}
			w.run(w.link(tt.link), 0)
			if direct != walked {
				t.Errorf("%s, %d octets: straight %+v, walk %+v", tt.name, len(frame), direct, walked)
			}
		}
	}
	if n < 12 {
		t.Errorf("the straight case took %d frames, want at least 12", n)
	}
}

// TestPlainIsSaidOfIPv4SegmentsAlone: of the conversations whose key is more than
// two IPv4 addresses and ports, and of what is no segment, it is not said.
func TestPlainIsSaidOfIPv4SegmentsAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		frame []byte
		want  bool
	}{
		"IPv4":         {eth("0800", probe4), true},
		"IPv6":         {eth("86dd", probe6), false},
		"VLAN":         {eth("8100", "0007 0800", probe4), true},
		"priority tag": {eth("8100", "0000 0800", probe4), true},
		"UDP":          {eth("0800", ip4(17, client4, server4, udp(53, 53, "aabb"))), false},
		"ICMP error":   {eth("0800", ip4(1, server4, client4, "030d 0000 00000000", probe4)), false},
	} {
		if got := DecodeFrame(1, tt.frame, uint32(len(tt.frame))); got.Plain != tt.want {
			t.Errorf("%s: plain %v, want %v (%+v)", name, got.Plain, tt.want, got)
		}
	}
}

func TestDirectionFollowsTheLowerEnd(t *testing.T) {
	back := ip4(6, server4, client4, "0016 c822 00002000 00001000 5010 01f5 0000 0000")
	got := decodeWhole(1, eth("0800", back))
	if got.Key != ends(client4+":51234", server4+":22") || !got.Reversed {
		t.Errorf("answer: key %v, reversed %v; want the probe's key, reversed", got.Key, got.Reversed)
	}
	back = ip6(6, server6, client6, "0016 c822 00002000 00001000 5010 01f5 0000 0000")
	got = decodeWhole(1, eth("86dd", back))
	if got.Key != ends("["+client6+"]:51234", "["+server6+"]:22") || !got.Reversed {
		t.Errorf("IPv6 answer: key %v, reversed %v; want the probe's key, reversed", got.Key, got.Reversed)
	}
}

func TestFrameCutBySnapLength(t *testing.T) {
	data := ip4(6, client4, server4, tcpHeader, make([]byte, 1000))
	frame := eth("0800", data)
	t.Run("54 octets: options cut, length known", func(t *testing.T) {
		got := DecodeFrame(1, frame[:54], uint32(len(frame)))
		want := probeIn(nil, false)
		want.Note = NoteCut | NoteHeaderCut
		want.Data, want.DataLen, want.HeaderLen = 54, 0, 0
		want.Seg.Len, want.Seg.Opts, want.Seg.OptHash = 1000, tcp.OptCut, 0
		want.Seg.TSVal, want.Seg.TSEcr = 0, 0
		want.Settle()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("DecodeFrame (-want +got):\n%s", diff)
		}
	})
	t.Run("payload cut", func(t *testing.T) {
		got := DecodeFrame(1, frame[:96], uint32(len(frame)))
		if got.Seg.Len != 1000 || got.Data != 66 || got.DataLen != 30 || got.Note != NoteCut {
			t.Errorf("length %d, data %d+%d, note %b; want 1000, 66+30, NoteCut", got.Seg.Len, got.Data, got.DataLen, got.Note)
		}
	})
	for size, reason := range map[int]string{
		53: "TCP header cut", 34: "TCP header cut", 33: "IPv4 header cut", 14: "IP header cut", 13: "Ethernet header cut", 0: "Ethernet header cut",
	} {
		if got := DecodeFrame(1, frame[:size], uint32(len(frame))); got != (Packet{Note: NoteCut}) {
			t.Errorf("%d octets: %+v, want undecoded", size, got)
		}
		if diff := cmp.Diff(map[string]uint64{reason: 1}, reasons(1, frame[:size], len(frame))); diff != "" {
			t.Errorf("%d octets, reasons (-want +got):\n%s", size, diff)
		}
	}
}

func TestPaddingIsNoPayload(t *testing.T) {
	bare := ip4(6, client4, server4, "c822 0016 00000fff 00002000 5010 01f5 0000 0000")
	for name, frame := range map[string][]byte{
		"straight": eth("0800", bare, "000000000000"),
		"walk":     eth("88a8 0001 0800", bare, "000000000000"),
		"802.3":    eth("0030 aaaa03 000000 0800", bare, "000000000000"),
	} {
		if got := decodeWhole(1, frame); got.Proto != TCP || got.Seg.Len != 0 || got.DataLen != 0 {
			t.Errorf("%s: proto %d, length %d, captured %d; want TCP without payload", name, got.Proto, got.Seg.Len, got.DataLen)
		}
	}
}

func TestCapturedLengthAboveOriginal(t *testing.T) {
	frame := eth("0800", probe4)
	want := probeIn(frame, false)
	want.Note = NoteTooLong
	want.Settle()
	if got := DecodeFrame(1, frame, 10); got != want {
		t.Errorf("DecodeFrame = %+v, want %+v", got, want)
	}
}

func TestUndecodedFramesAreCountedByReason(t *testing.T) {
	for _, tt := range []struct {
		name   string
		link   uint32
		frame  []byte
		reason string
	}{
		{"link type", 147, probe4, "link type 147 is not supported"},
		{"link type inside PPI", 192, octets("00 00 0800 93000000", probe4), "link type 147 is not supported"},
		{"EtherType", 1, eth("88cc", probe4), "EtherType 0x88cc is not supported"},
		{"spanning tree", 1, eth("0026 424203", make([]byte, 40)), "LLC frame without IP"},
		{"IP version", 101, octets("50", probe4), "IP version is neither 4 nor 6"},
		{"IPv4 header length", 101, octets("44", probe4[1:]), "IPv4 header length below 20"},
		{"IPv4 total length", 101, octets("45 00 0013", probe4[4:]), "IPv4 total length shorter than its header"},
		{"TCP header length", 101, ip4(6, client4, server4, "c822 0016 00000fff 00002000 4010 01f5 0000 0000"), "TCP header length below 20"},
		{"TCP header beyond", 101, ip4(6, client4, server4, "c822 0016 00000fff 00002000 6010 01f5 0000 0000"), "TCP header length beyond the segment"},
		{"IP packet too short", 101, ip4(6, client4, server4, "c822 0016 00000fff"), "IP packet too short for a TCP header"},
		{"VLAN tags beyond the budget", 1, octets(macs, strings.Repeat("8100 0001", 17), "0800", probe4), "more than 16 headers"},
		{"extension headers beyond the budget", 101, ip6(60, client6, server6, strings.Repeat("3c00000000000000", 20), tcpHeader), "more than 16 headers"},
		{"IPIP beyond the budget", 101, nested(20), "more than 16 headers"},
		{"PPPoE discovery", 1, eth("8863 1109 0000 0000"), "PPPoE frame without session data"},
		{"PPP control", 9, octets("ff03 c021 0101 0004"), "PPP protocol 0xc021 is not supported"},
		{"MPLS with nothing known inside", 1, eth("8847 00011140", make([]byte, 60)), "MPLS payload is neither IP nor Ethernet with IP"},
		{"802.11 beacon", 105, octets("8000 0000", macs, "020000000003 0000", make([]byte, 40)), "802.11 frame without data"},
		{"802.11 encrypted", 105, octets("0841 0000", macs, "020000000003 0000", make([]byte, 40)), "802.11 frame is encrypted"},
		{"802.11 fragment", 105, octets("0805 0000", macs, "020000000003 0000", make([]byte, 40)), "802.11 fragment"},
		{"802.11 with several packets", 105, octets("8801 0000", macs, "020000000003 0000 8000", make([]byte, 40)), "802.11 frame with several packets"},
		{"802.11 cut", 105, octets("0801 0000", macs), "802.11 header cut or damaged"},
		{"802.11 damaged on the air", 127, octets("00 00 0900 02000000 40 0801 0000", macs), "802.11 frame with a bad checksum"},
		{"NFLOG attribute length", 239, octets("02 00 0000 0300 0100", probe4), "NFLOG attribute shorter than its header"},
		{"ARCNET fragment", 129, octets("0102 0000 d4 01 0001", probe4), "ARCNET fragment"},
		{"Frame Relay NLPID", 107, octets("0801 03 81", probe4), "Frame Relay NLPID 0x81 is not supported"},
		{"loopback family", 0, octets("07000000", probe4), "loopback address family 7 is not supported"},
	} {
		if got := decodeWhole(tt.link, tt.frame); got != (Packet{VLAN: got.VLAN, Way: got.Way}) {
			t.Errorf("%s: %+v, want undecoded", tt.name, got)
		}
		if diff := cmp.Diff(map[string]uint64{tt.reason: 1}, reasons(tt.link, tt.frame, len(tt.frame))); diff != "" {
			t.Errorf("%s: reasons (-want +got):\n%s", tt.name, diff)
		}
	}
}

// nested returns probe4 within n IPv4 headers.
func nested(n int) []byte {
	b := probe4
	for range n {
		b = ip4(4, outer4A, outer4B, b)
	}
	return b
}

func TestReasonsAreBounded(t *testing.T) {
	var d decoder
	for link := uint32(1000); link < 2000; link++ {
		var p Packet
		d.frame(link, 0, probe4, uint32(len(probe4)), &p)
	}
	if len(d.undecoded) != maxReasons+1 || d.undecoded[otherReasons] != 1000-maxReasons {
		t.Errorf("%d reasons, %d frames under %q; want %d, %d",
			len(d.undecoded), d.undecoded[otherReasons], otherReasons, maxReasons+1, 1000-maxReasons)
	}
}

func TestDecodingStraightAllocatesNothing(t *testing.T) {
	var d decoder
	for _, tt := range linkFrames {
		var p Packet
		d.frame(tt.link, 0, tt.frame, uint32(len(tt.frame)), &p) // makes what is made once
		if tt.link == 105 || tt.link == 127 || tt.link == 192 || tt.link == 119 || tt.link == 163 {
			continue // gopacket allocates
		}
		if n := testing.AllocsPerRun(100, func() {
			p = Packet{}
			d.frame(tt.link, 0, tt.frame, uint32(len(tt.frame)), &p)
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", tt.name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bb := range []struct {
		name  string
		link  uint32
		frame []byte
	}{
		{"ethernet-ipv4", 1, eth("0800", probe4)},
		{"ethernet-vlan-ipv6", 1, eth("8100 002a 86dd", probe6)},
		{"qinq-ipv4", 1, eth("88a8 0064 8100 002a 0800", probe4)},
		{"vxlan", 1, eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, "08000000 00000100", macs, "0800", probe4)))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var d decoder
			b.ReportAllocs()
			for b.Loop() {
				var p Packet
				d.frame(bb.link, 0, bb.frame, uint32(len(bb.frame)), &p)
			}
		})
	}
}

func TestFramesCutAnywhereAreTCPOrCounted(t *testing.T) {
	type shape struct {
		name  string
		link  uint32
		frame []byte
	}
	var shapes []shape
	for _, tt := range linkFrames {
		shapes = append(shapes, shape{tt.name, tt.link, tt.frame})
	}
	for _, tt := range tunnelFrames {
		shapes = append(shapes, shape{tt.name, linkEthernet, tt.frame})
	}
	for _, s := range shapes {
		whole := decodeWhole(s.link, s.frame)
		for size := range s.frame {
			cut := s.frame[:size:size]
			p := DecodeFrame(s.link, cut, uint32(len(s.frame)))
			counted := uint64(0)
			for _, n := range reasons(s.link, cut, len(s.frame)) {
				counted += n
			}
			switch {
			case p.Note&NoteCut == 0:
				t.Errorf("%s, %d octets: not noted as cut", s.name, size)
			case p.Proto == Undecoded && counted != 1, p.Proto != Undecoded && counted != 0:
				t.Errorf("%s, %d octets: proto %d, counted %d times", s.name, size, p.Proto, counted)
			case p.Proto == TCP && (p.Key != whole.Key || p.Seg.Seq != whole.Seg.Seq || p.Seg.Len != whole.Seg.Len):
				t.Errorf("%s, %d octets: %+v, the whole frame is %+v", s.name, size, p, whole)
			}
		}
	}
}

func TestPanicOfALibraryIsAReason(t *testing.T) {
	x := newWireless()
	x.parser = nil
	if size, reason := x.read(make([]byte, 40)); size != 0 || reason != "802.11 header made the decoder panic" {
		t.Errorf("read = %d, %q; want the panic as a reason", size, reason)
	}
}
