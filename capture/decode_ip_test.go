package capture

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// edit returns a copy of b with one octet set.
func edit(b []byte, at int, octet byte) []byte {
	b = slices.Clone(b)
	b[at] = octet
	return b
}

const bareHeader = "c822 0016 00000fff 00002000 5010 01f5 0000 0000" // TCP without options

func TestIPHeaders(t *testing.T) {
	note := func(n Note) func(*Packet) { return func(p *Packet) { p.Note = n } }
	fragmentHeader := func(offset string) []byte {
		return ip6(44, client6, server6, "06 00", offset, "00000001", tcpHeader, garbage)
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		is6   bool
		but   func(*Packet)
	}{
		{"IPv4 options", sumIP4(octets("4700 003d 1234 4000 4006 0000 c0000201 c6336402 94040000 01010100", tcpHeader, garbage)), false, nil},
		{"wrong IPv4 checksum", edit(probe4, 10, 0xee), false, note(NoteBadIPSum)},
		{"wrong checksum with options", edit(sumIP4(octets("4600 0039 1234 4000 4006 0000 c0000201 c6336402 94040000", tcpHeader, garbage)), 10, 0xee), false, note(NoteBadIPSum)},
		{"first fragment", ip4Flags(6, 0x2000, client4, server4, tcpHeader, garbage), false, note(NoteFragment)},
		{"IPv4 length left to the card", sumIP4(edit(edit(probe4, 2, 0), 3, 0)), false, note(NoteTSO)},
		{"hop-by-hop options", ip6(0, client6, server6, "06 00 010400000000", tcpHeader, garbage), true, nil},
		{"destination options, 16 octets", ip6(60, client6, server6, "06 01 010c 000000000000000000000000", tcpHeader, garbage), true, nil},
		{"hop-by-hop, routing done, destination options", ip6(0, client6, server6, "2b 00 010400000000", "3c 00 0000 00000000", "06 00 010400000000", tcpHeader, garbage), true, nil},
		{"authentication header", ip6(51, client6, server6, "06 01 0000 00000001 00000001", tcpHeader, garbage), true, nil},
		{"first fragment, IPv6", fragmentHeader("0001"), true, note(NoteFragment)},
		{"atomic fragment", fragmentHeader("0000"), true, nil},
		{"routing header still in use", ip6(43, client6, outer6B, "06 02 00 01 00000000", "20010db8ffff00000000000000000002", tcpHeader, garbage), true, nil},
		{"segment routing still in use", ip6(43, client6, outer6B, "06 04 04 01 01000000", "20010db8ffff00000000000000000002", "20010db8000a00000000000000000002", tcpHeader, garbage), true, nil},
		{"BIG TCP without its option", edit(edit(probe6, 4, 0), 5, 0), true, note(NoteTSO)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := probeIn(tt.frame, tt.is6)
			if tt.but != nil {
				tt.but(&want)
			}
			want.Settle()
			if diff := cmp.Diff(want, decodeWhole(101, tt.frame)); diff != "" {
				t.Errorf("DecodeFrame (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLaterFragmentsAreNoTCP(t *testing.T) {
	later4 := ip4Flags(6, 0x2000|185, client4, server4, tcpHeader, garbage)
	last6 := ip6(44, client6, server6, "06 00 05a8 00000001", tcpHeader, garbage)
	for name, tt := range map[string]struct {
		frame []byte
		key   Key
	}{
		"IPv4": {later4, hosts(client4, server4)},
		"IPv6": {last6, hosts(client6, server6)},
	} {
		if got := decodeWhole(101, tt.frame); got.Proto != Other || got.Key != tt.key {
			t.Errorf("%s: proto %d, key %v; want Other, %v", name, got.Proto, got.Key, tt.key)
		}
	}
}

func TestJumboPayloadLength(t *testing.T) {
	frame := ip6(0, client6, server6, "06 00 c204 00020000", tcpHeader, make([]byte, 200))
	frame[4], frame[5] = 0, 0
	got := DecodeFrame(101, frame, 40+0x20000)
	if got.Proto != TCP || got.Seg.Len != 0x20000-8-32 || got.DataLen != 200 {
		t.Errorf("proto %d, length %d, captured %d; want TCP, %d, 200", got.Proto, got.Seg.Len, got.DataLen, 0x20000-40)
	}
}

func TestLongSegmentWithoutIPLength(t *testing.T) {
	frame := edit(edit(probe4, 2, 0), 3, 0)
	if got := DecodeFrame(101, frame, 80000); got.Seg.Len != 80000-52 {
		t.Errorf("length %d, want %d by the frame", got.Seg.Len, 80000-52)
	}
}

func TestPaddingCountedByAnAccessConcentrator(t *testing.T) {
	packet := ip4(6, client4, server4, bareHeader, "000000000000")
	got := decodeWhole(1, eth("8864 1100 0001 002a 0021", packet))
	if got.Proto != TCP || got.Seg.Len != 0 || got.DataLen != 0 {
		t.Errorf("proto %d, length %d, captured %d; want TCP without payload", got.Proto, got.Seg.Len, got.DataLen)
	}
}

func TestIPLengthBeyondTheFrame(t *testing.T) {
	packet := ip4(6, client4, server4, tcpHeader, make([]byte, 85))
	got := DecodeFrame(1, eth("0800", packet[:52]), 66) // both lengths of the record were cut
	if got.Proto != TCP || got.Seg.Len != 85 || got.DataLen != 0 {
		t.Errorf("proto %d, length %d, captured %d; want TCP, 85 by the IP header, none", got.Proto, got.Seg.Len, got.DataLen)
	}
}

func TestTCPOptions(t *testing.T) {
	for _, tt := range []struct {
		name, options string
		want          tcp.Segment // option fields alone
	}{
		{"a Linux SYN", "020405b4 0402 080a 00000001 00000000 01 030307", tcp.Segment{
			MSS: 1460, TSVal: 1, WScale: 7,
			Opts: tcp.OptMSS | tcp.OptSACKPermitted | tcp.OptTimestamps | tcp.OptWScale,
		}},
		{"the shift is at most 14", "0303ff 01", tcp.Segment{WScale: 14, Opts: tcp.OptWScale}},
		{"the first of two SACK blocks", "0101 0512 00000001 00000002 00000003 00000004", tcp.Segment{
			SackL: 1, SackR: 2, Opts: tcp.OptSACK,
		}},
		{"timestamps in another place", "080a 00000003 00000004 0101", tcp.Segment{TSVal: 3, TSEcr: 4, Opts: tcp.OptTimestamps}},
		{"user timeout and MD5", "1c04 8064 1312 00000000000000000000000000000000 0101", tcp.Segment{Opts: tcp.OptUserTimeout | tcp.OptAuth}},
		{"TCP-AO", "1d10 0102 000000000000000000000000", tcp.Segment{Opts: tcp.OptAuth}},
		{"end of list", "00 0204 05", tcp.Segment{}},
		{"length 0", "02000000", tcp.Segment{Opts: tcp.OptCut}},
		{"length 1", "01 0201 01", tcp.Segment{Opts: tcp.OptCut}},
		{"length beyond the header", "0402 0210", tcp.Segment{Opts: tcp.OptSACKPermitted | tcp.OptCut}},
		{"kind in the last octet", "010101 02", tcp.Segment{Opts: tcp.OptCut}},
		{"MSS of the wrong size is passed over", "0203 05 01", tcp.Segment{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := octets(tt.options)
			header := octets(bareHeader)
			header[12] = byte((20 + len(options)) / 4 << 4)
			got := decodeWhole(101, ip4(6, client4, server4, header, options))
			if got.Proto != TCP || got.Seg.Seq != 0xfff || got.Seg.Len != 0 {
				t.Errorf("proto %d, seq %d, length %d; want the header's fields", got.Proto, got.Seg.Seq, got.Seg.Len)
			}
			s := got.Seg
			if s.OptHash == 0 {
				t.Error("no hash of the option kinds")
			}
			s = tcp.Segment{SackL: s.SackL, SackR: s.SackR, TSVal: s.TSVal, TSEcr: s.TSEcr, MSS: s.MSS, WScale: s.WScale, Opts: s.Opts}
			if diff := cmp.Diff(tt.want, s); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOptionHashKnowsTheOrder(t *testing.T) {
	hash := func(options string) uint32 {
		var s tcp.Segment
		readOptions(&s, octets(options))
		return s.OptHash
	}
	if got := hash("0101080a0000000100000002"); got != hashNopNopTS || got != hashKind(hashKind(hashKind(hashStart, 1), 1), 8) {
		t.Errorf("the shortcut for timestamps hashes to %#x, want %#x", got, uint32(hashNopNopTS))
	}
	if hash("0204 05b4 0402") == hash("0402 0204 05b4") {
		t.Error("two orders of the same options have one hash")
	}
	if hash("0204 05b4") != hash("0204 0200") {
		t.Error("the value of an option changed the hash")
	}
}

func TestNineFlagBits(t *testing.T) {
	header := octets(bareHeader)
	binary.BigEndian.PutUint16(header[12:], 0x51ff)
	want := tcp.FIN | tcp.SYN | tcp.RST | tcp.PSH | tcp.ACK | tcp.URG | tcp.ECE | tcp.CWR | tcp.AE
	if got := decodeWhole(101, ip4(6, client4, server4, header)); got.Seg.Flags != want {
		t.Errorf("flags %v, want %v", got.Seg.Flags, want)
	}
}

func TestTCPChecksum(t *testing.T) {
	segment := octets(bareHeader, "616263")
	src, dst := octets("c0000201"), octets("c6336402")
	binary.BigEndian.PutUint16(segment[16:], ^fold(sum16(sum16(sum16(0, src), dst)+uint64(len(segment))+6, segment)))
	if !tcpChecksumOK(src, dst, segment) {
		t.Error("a right checksum is called wrong")
	}
	if tcpChecksumOK(src, dst, edit(segment, 20, 0x62)) {
		t.Error("a changed octet goes unnoticed")
	}
	// One from the wire: RFC 1071's example sums to 0xddf2.
	if got := fold(sum16(0, octets("0001 f203 f4f5 f6f7"))); got != 0xddf2 {
		t.Errorf("sum of RFC 1071's example is %#x, want 0xddf2", got)
	}
}

func TestEcho(t *testing.T) {
	request := decodeWhole(101, ip4(1, client4, server4, "0800 0000 1234 0007", make([]byte, 56)))
	want := Packet{Key: hosts(client4, server4), Proto: Echo, ICMP: 0x0800, Seg: tcp.Segment{Seq: 0x12340007, Len: 64, TTL: 64, IPID: 0x1234}}
	if request != want {
		t.Errorf("echo request = %+v, want %+v", request, want)
	}
	reply := decodeWhole(101, ip6(58, server6, client6, "8100 0000 1234 0007"))
	want = Packet{Key: hosts(client6, server6), Proto: Echo, ICMP: 0x8100, Reversed: true, Seg: tcp.Segment{Seq: 0x12340007, Len: 8, TTL: 64}}
	if reply != want {
		t.Errorf("ICMPv6 echo reply = %+v, want %+v", reply, want)
	}
}

func TestICMPErrorsQuoteTCP(t *testing.T) {
	const router4, router6 = "203.0.113.9", "2001:db8:9::1"
	full := probeIn(nil, false)
	short := Packet{Key: full.Key, Note: NoteHeaderCut, Seg: tcp.Segment{Seq: 0xfff, TTL: 64, IPID: 0x1234, Opts: tcp.OptCut}}
	fourteen := short
	fourteen.Seg.Ack, fourteen.Seg.Flags, fourteen.Seg.Len = 0x2000, tcp.ACK, 1
	full6 := probeIn(nil, true)
	right := full
	full.Note, full6.Note = NoteBadTCPSum, NoteBadTCPSum // the probes of the tests have no sum
	summed := edit(probe4, 36, 0)
	binary.BigEndian.PutUint16(summed[36:], ^fold(sum16(sum16(sum16(0, summed[12:20]), summed[20:])+protoTCP, octets("0021"))))
	for _, tt := range []struct {
		name  string
		frame []byte
		want  Packet
		code  uint16
	}{
		{"host unreachable, 8 octets quoted", ip4(1, router4, client4, "0301 0000 00000000", probe4[:28]), short, 0x0301},
		{"14 octets quoted: flags and length", ip4(1, router4, client4, "0301 0000 00000000", probe4[:34]), fourteen, 0x0301},
		{"all quoted", ip4(1, router4, client4, "0b00 0000 00000000", probe4), full, 0x0b00},
		{"all quoted, its checksum right", ip4(1, router4, client4, "0b00 0000 00000000", summed), right, 0x0b00},
		{"redirect", ip4(1, router4, client4, "0501 0000 cb007109", probe4), full, 0x0501},
		{"ICMPv6, administratively prohibited", ip6(58, router6, client6, "0101 0000 00000000", probe6), full6, 0x0101},
		{"ICMPv6, extension header quoted", ip6(58, router6, client6, "0200 0000 00000500",
			ip6(60, client6, server6, "06 00 010400000000", tcpHeader, garbage)), full6, 0x0200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			want.Proto, want.ICMP, want.Data, want.DataLen, want.HeaderLen = ICMPError, tt.code, 14, uint32(len(tt.frame)), 0
			got := decodeWhole(1, eth(map[byte]string{4: "0800", 6: "86dd"}[tt.frame[0]>>4], tt.frame))
			want.Settle()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("DecodeFrame (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the quoted segment's direction", func(t *testing.T) {
		quoted := ip4(6, server4, client4, "0016 c822 00000001 00000002 5010 0000 0000 0000")
		got := decodeWhole(101, ip4(1, router4, server4, "0301 0000 00000000", quoted))
		if !got.Reversed || got.Key != full.Key {
			t.Errorf("key %v, reversed %v; want the probe's, reversed", got.Key, got.Reversed)
		}
	})
	for name, frame := range map[string][]byte{
		"quotes UDP":             ip4(1, router4, client4, "0303 0000 00000000", ip4(17, client4, server4, udp(1, 2))),
		"quotes a later part":    ip4(1, router4, client4, "0b01 0000 00000000", ip4Flags(6, 185, client4, server4, tcpHeader)),
		"quotes too few":         ip4(1, router4, client4, "0301 0000 00000000", probe4[:27]),
		"quotes nothing":         ip4(1, router4, client4, "0301 0000 00000000"),
		"quotes no IP":           ip4(1, router4, client4, "0301 0000 00000000", make([]byte, 40)),
		"header of the quote":    ip4(1, router4, client4, "0301 0000 00000000", edit(probe4, 0, 0x44)),
		"a message of its own":   ip4(1, router4, client4, "0d00 0000 00000000"),
		"a message that was cut": ip4(1, router4, client4, "0301"),
	} {
		if got := decodeWhole(101, frame); got.Proto != Other || got.Key != hosts(client4, router4) {
			t.Errorf("%s: proto %d, key %v; want Other between router and client", name, got.Proto, got.Key)
		}
	}
}

func TestARP(t *testing.T) {
	hi, lo := digest(octets("020000000001"))
	if hi == 0 && lo == 0 {
		t.Fatal("the digest of an address is zero")
	}
	seg := tcp.Segment{Seq: hi, Ack: lo}
	for _, tt := range []struct {
		name, message string
		want          Packet
	}{
		{"request", "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202",
			Packet{Key: hosts("192.0.2.1", "192.0.2.2"), ICMP: 1}},
		{"reply", "0001 0800 06 04 0002 020000000001 c0000202 020000000002 c0000201",
			Packet{Key: hosts("192.0.2.1", "192.0.2.2"), ICMP: 2, Reversed: true}},
		{"gratuitous", "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000201",
			Packet{Key: hosts("192.0.2.1", "192.0.2.1"), ICMP: 1}},
		{"probe for a free address", "0001 0800 06 04 0001 020000000001 00000000 000000000000 c0000201",
			Packet{ICMP: 1}},
	} {
		tt.want.Proto, tt.want.Seg = ARP, seg
		frame := eth("0806", tt.message, make([]byte, 18))
		if got := decodeWhole(1, frame); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestNeighbourDiscovery(t *testing.T) {
	const neighbour = "2001:db8::2"
	hi, lo := digest(octets("020000000001"))
	seg := tcp.Segment{Seq: hi, Ack: lo}
	target := "20010db8000000000000000000000002"
	for _, tt := range []struct {
		name  string
		frame []byte
		want  Packet
	}{
		{"solicitation", ip6(58, client6, "ff02::1:ff00:2", "8700 0000 00000000", target, "0101 020000000001"),
			Packet{Key: hosts(client6, neighbour), ICMP: 135 << 8, Seg: seg}},
		{"advertisement", ip6(58, neighbour, client6, "8800 0000 60000000", target, "0201 020000000001"),
			Packet{Key: hosts(client6, neighbour), ICMP: 136 << 8, Seg: seg, Reversed: true}},
		{"advertisement to all", ip6(58, neighbour, "ff02::1", "8800 0000 20000000", target, "0201 020000000001"),
			Packet{Key: hosts(neighbour, neighbour), ICMP: 136 << 8, Seg: seg}},
		{"advertisement without an address", ip6(58, neighbour, client6, "8800 0000 60000000", target),
			Packet{Key: hosts(client6, neighbour), ICMP: 136 << 8, Reversed: true}},
		{"solicitation for a free address", ip6(58, "::", "ff02::1:ff00:2", "8700 0000 00000000", target),
			Packet{ICMP: 135 << 8}},
	} {
		tt.want.Proto = ARP
		if got := decodeWhole(101, tt.frame); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestOtherProtocolsAreEvidenceOfTheirHosts(t *testing.T) {
	for name, frame := range map[string][]byte{
		"UDP":            ip4(17, client4, server4, udp(53, 53, "0102")),
		"UDP, no header": ip4(17, client4, server4, "0102"),
		"ESP":            ip4(50, client4, server4, strings.Repeat("00", 20)),
	} {
		got := decodeWhole(101, frame)
		want := Packet{Key: hosts(client4, server4), Proto: Other, Seg: tcp.Segment{TTL: 64, IPID: 0x1234, Len: uint32(len(frame) - 20)}}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestUsualOptionsAreReadAsAnyOthers holds the lists that are known by sight
// against the walk from option to option.
func TestUsualOptionsAreReadAsAnyOthers(t *testing.T) {
	for _, list := range []string{
		"0101 080a 01020304 05060708",
		"0204 05b4 0402 080a 01020304 05060708 01 030307",
		"0204 05b4 0402 080a 01020304 00000000 01 0303ff", // a shift larger than there is
		"0204 05b4 0402 080a 01020304 05060708 01 030207", // a window scale of the wrong size
		"0204 05b4 0402 080a 01020304 05060708 01 020304",
	} {
		var usual, walked tcp.Segment
		readOptions(&usual, octets(list))
		walkOptions(&walked, octets(list))
		if usual != walked {
			t.Errorf("%s:\n%+v\n%+v", list, usual, walked)
		}
	}
}
