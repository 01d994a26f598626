package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"kaflow/tcp"
)

// tcpCount is how many frames of a file hold TCP, and TCP quoted by ICMP.
type tcpCount struct{ own, quoted int }

// tsharkTCP reads what tshark counted, by file.
func tsharkTCP(t *testing.T, dir string) map[string]tcpCount {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]tcpCount)
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		field := strings.Split(line, "\t")
		if i == 0 {
			if field[0] != "file" || field[5] != "tcp_packets" || field[6] != "tcp_in_icmp" {
				t.Fatalf("columns of expected.tsv are %v", field)
			}
			continue
		}
		var c tcpCount
		if _, err := fmt.Sscan(field[5]+" "+field[6], &c.own, &c.quoted); err != nil {
			t.Fatalf("%s: %v", field[0], err)
		}
		counts[field[0]] = c
	}
	return counts
}

// explained lists the files in which tshark and we count differently, and why.
// Differences are ours less tshark's.
var explained = []struct {
	file   string
	differ tcpCount
	reason string
}{
	{"Malcolm-Test-Artif__pcap_protocols_Tunnels.pcap", tcpCount{own: 4}, firstFragment},
	{"zeek__tunnels_gtp_gtp1_gn_normal_incl_fragmentation.pcap", tcpCount{own: 4}, firstFragment},
	{"nDPI__default_pcap_fuzz-2006-06-26-2594.pcap", tcpCount{own: -1}, noHeader},
	{"nDPI__default_pcap_kerberos_fuzz.pcapng", tcpCount{own: -1}, noHeader},
	{"suricata-verify__tests_transform-base64-7296_input.pcap", tcpCount{own: -2}, noHeader},
	{"tcpdump__tests_bgp-aigp.pcap", tcpCount{own: -1}, "link type 178 (Juniper) is not supported"},
	{"PcapFlowLab__parsing_mpls_pw_18_mpls_pw_outer_legacy_vlan_ipv4_tcp_cw.pcap", tcpCount{own: 1}, "tshark 4.0 takes the control word of the pseudowire for an Ethernet address"},
	{"tcpdump__tests_bigtcp-ipv4-vxlan-ipv6.pcap", tcpCount{own: 1}, bigTCP},
	{"tcpdump__tests_bigtcp-ipv6-vxlan-ipv4.pcap", tcpCount{own: 1}, bigTCP},
	{"tcpdump__tests_bigtcp-ipv6-vxlan-ipv6.pcap", tcpCount{own: 1}, bigTCP},
}

const (
	firstFragment = "the first fragment counts here, the completing one with tshark; these datagrams have no completing one"
	noHeader      = "a TCP layer with tshark, which is damaged: its header length lies below 20 or beyond the segment, or fewer than 20 octets are left"
	bigTCP        = "tshark 4.0 stops at a UDP length of 0"
)

func TestTCPFramesAreTsharks(t *testing.T) {
	dir := sharedPcaps(t)
	want := tsharkTCP(t, dir)
	for _, e := range explained {
		c := want[e.file]
		want[e.file] = tcpCount{c.own + e.differ.own, c.quoted + e.differ.quoted}
	}
	got := make(map[string]tcpCount)
	for file := range want {
		var c tcpCount
		eachPacket(t, filepath.Join(dir, file), func(p *Packet, _ []byte) {
			switch p.Proto {
			case TCP:
				c.own++
			case ICMPError:
				c.quoted++
			}
		})
		got[file] = c
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tcpCount{})); diff != "" {
		t.Errorf("TCP frames by file (-tshark +ours):\n%s", diff)
	}
}

// eachPacket gives every packet of a capture and its payload to f.
func eachPacket(t testing.TB, path string, f func(*Packet, []byte)) {
	t.Helper()
	s, err := Open(Options{}, "", path)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	defer s.Close()
	var b Batch
	for {
		switch err := s.Read(&b); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
		for i := range b.N {
			f(&b.Pkts[i], b.Payload(i))
		}
	}
}

// gopacketTCP is what gopacket makes of a frame: the oracle for the fields.
type gopacketTCP struct {
	parser  *gopacket.DecodingLayerParser
	eth     layers.Ethernet
	tag     layers.Dot1Q
	v4      layers.IPv4
	v6      layers.IPv6
	tcp     layers.TCP
	payload gopacket.Payload
	found   []gopacket.LayerType
}

func newGopacketTCP() *gopacketTCP {
	g := new(gopacketTCP)
	g.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &g.eth, &g.tag, &g.v4, &g.v6, &g.tcp, &g.payload)
	return g
}

// decode returns the Packet that a whole frame is by gopacket's reading,
// without its notes and offsets, and its payload; ok is false where the frame
// is not one IP header, whole and of the right version, with TCP.
func (g *gopacketTCP) decode(frame []byte) (p Packet, payload []byte, ok bool) {
	g.payload = nil
	if err := g.parser.DecodeLayers(frame, &g.found); err != nil || g.parser.Truncated {
		return p, nil, false
	}
	var src, dst []byte
	for _, l := range g.found {
		if src != nil && l != layers.LayerTypeTCP && l != gopacket.LayerTypePayload {
			return p, nil, false // a tunnel
		}
		switch l {
		case layers.LayerTypeDot1Q:
			p.VLAN, p.Way = g.tag.VLANIdentifier, g.tag.VLANIdentifier
		case layers.LayerTypeIPv4:
			src, dst = g.v4.SrcIP, g.v4.DstIP
			p.Seg.TTL, p.Seg.IPID = g.v4.TTL, g.v4.Id
			if g.v4.Version != 4 || g.v4.Length == 0 || g.v4.FragOffset != 0 || g.v4.Flags&layers.IPv4MoreFragments != 0 {
				return p, nil, false
			}
		case layers.LayerTypeIPv6:
			src, dst = g.v6.SrcIP, g.v6.DstIP
			p.Seg.TTL, p.Seg.IPID = g.v6.HopLimit, 0
			if g.v6.Version != 6 {
				return p, nil, false
			}
		case layers.LayerTypeTCP:
			ok = true
		}
	}
	if !ok {
		return p, nil, false
	}
	p.Proto, p.HeaderLen = TCP, uint8(g.tcp.DataOffset)*4
	p.Key, p.Reversed = canonical(wordsOf(src), wordsOf(dst), uint16(g.tcp.SrcPort), uint16(g.tcp.DstPort), 0)
	p.Seg.Seq, p.Seg.Ack, p.Seg.Win = tcp.Seq(g.tcp.Seq), tcp.Seq(g.tcp.Ack), g.tcp.Window
	for i, set := range []bool{g.tcp.FIN, g.tcp.SYN, g.tcp.RST, g.tcp.PSH, g.tcp.ACK, g.tcp.URG, g.tcp.ECE, g.tcp.CWR, g.tcp.NS} {
		if set {
			p.Seg.Flags |= 1 << i
		}
	}
	p.Settle()
	p.Seg.Len = uint32(len(g.tcp.Payload))
	for _, o := range g.tcp.Options {
		if o.OptionType != layers.TCPOptionKindEndList && o.OptionType != layers.TCPOptionKindNop {
			readOption(&p.Seg, byte(o.OptionType), o.OptionData)
		}
	}
	return p, g.tcp.Payload, true
}

func wordsOf(address []byte) [4]uint32 {
	if len(address) == 4 {
		return [4]uint32{2: v4Prefix, 3: be32(address)}
	}
	return [4]uint32{be32(address), be32(address[4:]), be32(address[8:]), be32(address[12:])}
}

// agreeWithGopacket compares both readings of a whole Ethernet frame, and
// reports whether gopacket had one.
func agreeWithGopacket(t *testing.T, g *gopacketTCP, frame []byte) bool {
	t.Helper()
	want, payload, ok := g.decode(frame)
	if !ok {
		return false
	}
	got := decodeWhole(linkEthernet, frame)
	if !bytes.Equal(payload, frame[got.Data:got.Data+got.DataLen]) {
		t.Errorf("payload of % x\n is % x, gopacket has % x", frame, frame[got.Data:got.Data+got.DataLen], payload)
	}
	got.Data, got.DataLen, got.Note, got.Seg.OptHash = 0, 0, 0, 0
	if got.Seg.Opts.Has(tcp.OptCut) {
		return false // gopacket refuses such lists
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frame % x (-gopacket +ours):\n%s", frame, diff)
	}
	return true
}

func TestEthernetTCPAsGopacketReadsIt(t *testing.T) {
	g, compared := newGopacketTCP(), 0
	for _, tt := range linkFrames {
		if tt.link == linkEthernet && agreeWithGopacket(t, g, tt.frame) {
			compared++
		}
	}
	if compared < 6 {
		t.Errorf("compared %d frames of our own, want at least 6", compared)
	}
}

// The decoder of 802.11 headers is that of gopacket's fork; gopacket agrees with it about the
// end of every header of data.
func TestWirelessHeadersEndWhereGopacketHasIt(t *testing.T) {
	x, frame, ended := newWireless(), make([]byte, wirelessHead+wirelessFCS), make(map[int]int)
	for control := range 1 << 16 {
		frame[0], frame[1] = byte(control), byte(control>>8)
		size, reason := x.read(frame[:wirelessHead])
		if control&0x0c != 0x08 { // no data
			continue
		}
		var want layers.Dot11
		if err := want.DecodeFromBytes(frame, gopacket.NilDecodeFeedback); err != nil { // of a kind that is reserved
			if reason == "" {
				t.Errorf("frame control %#04x: %d octets, gopacket says %v", control, size, err)
			}
			continue
		}
		if reason != "" || size != len(want.Contents) || x.header.Flags.WEP() != want.Flags.WEP() || x.header.Flags.MF() != want.Flags.MF() {
			t.Errorf("frame control %#04x: %d octets %q, gopacket has %d", control, size, reason, len(want.Contents))
		}
		ended[size]++
	}
	for _, size := range []int{24, 26, 30, 32, 36} { // with QoS, with a fourth address, with both, with HT control, too
		if ended[size] == 0 {
			t.Errorf("no header of %d octets", size)
		}
	}
}

// eachFrame gives the frames of a plain little-endian pcap file to f: enough of
// the captures are that, and the test leans on no reader of ours.
func eachFrame(t testing.TB, path string, f func(link uint32, frame []byte, wire uint32)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 24 || le32(b) != 0xa1b2c3d4 {
		return
	}
	link := le32(b[20:])
	for b = b[24:]; len(b) >= 16; {
		n, wire := int(le32(b[8:])), le32(b[12:])
		if n > len(b)-16 {
			return
		}
		f(link, b[16:16+n:16+n], wire)
		b = b[16+n:]
	}
}

func TestCapturedTCPAsGopacketReadsIt(t *testing.T) {
	dir := sharedPcaps(t)
	g, compared := newGopacketTCP(), 0
	for file := range tsharkTCP(t, dir) {
		eachFrame(t, filepath.Join(dir, file), func(link uint32, frame []byte, wire uint32) {
			if link == linkEthernet && int(wire) == len(frame) && !t.Failed() && agreeWithGopacket(t, g, frame) {
				compared++
			}
		})
	}
	if compared < 10000 {
		t.Errorf("compared %d frames, want at least 10,000", compared)
	}
	t.Logf("compared %d frames", compared)
}
