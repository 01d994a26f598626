package capture

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const inner = macs + "0800"

// vxlanHead is a VXLAN header with VNI 100, geneveHead one of GENEVE with an
// option of 8 octets.
const (
	vxlanHead  = "08000000 00006400"
	geneveHead = "0200 6558 00006400 0102 80 01 00000000"
)

// tunnelFrames hold a probe in every kind of tunnel, under Ethernet.
var tunnelFrames = []struct {
	name  string
	frame []byte
	is6   bool
	but   func(*Packet)
}{
	{"IPIP", eth("0800", ip4(4, outer4A, outer4B, probe4)), false, nil},
	{"6in4", eth("0800", ip4(41, outer4A, outer4B, probe6)), true, nil},
	{"4in6", eth("86dd", ip6(4, outer6A, outer6B, probe4)), false, nil},
	{"6in6", eth("86dd", ip6(41, outer6A, outer6B, probe6)), true, nil},
	{"6in6 behind an encapsulation limit", eth("86dd", ip6(60, outer6A, outer6B, "29 00 04 01 04 01 01 00", probe6)), true, nil},
	{"GRE", eth("0800", ip4(47, outer4A, outer4B, "0000 0800", probe4)), false, nil},
	{"GRE with checksum, key and sequence", eth("0800", ip4(47, outer4A, outer4B, "b000 86dd 00000000 00000001 00000002", probe6)), true, nil},
	{"GRE bridging", eth("0800", ip4(47, outer4A, outer4B, "0000 6558", inner, probe4)), false, nil},
	{"GRE with MPLS", eth("0800", ip4(47, outer4A, outer4B, "0000 8847 00011140", probe4)), false, nil},
	{"NVGRE", eth("0800", ip4(47, outer4A, outer4B, "2000 6558 00006401", inner, probe4)), false, nil},
	{"GRE version 1 with IP", eth("0800", ip4(47, outer4A, outer4B, "3001 0800 00000001 00000002", probe4)), false, nil},
	{"PPTP", eth("0800", ip4(47, outer4A, outer4B, "3081 880b 0039 0001 00000002 00000001 ff03 0021", probe4)), false, nil},
	{"PPTP, compressed", eth("0800", ip4(47, outer4A, outer4B, "3001 880b 0036 0001 00000002 21", probe4)), false, nil},
	{"ERSPAN I", eth("0800", ip4(47, outer4A, outer4B, "0000 88be", inner, probe4)), false, nil},
	{"ERSPAN II", eth("0800", ip4(47, outer4A, outer4B, "1000 88be 00000001 1001 0001 00000000", inner, probe4)), false, nil},
	{"ERSPAN III", eth("0800", ip4(47, outer4A, outer4B, "1000 22eb 00000001 2001 0001 00000000 0000 0000", inner, probe4)), false, nil},
	{"ERSPAN III with subheader", eth("0800", ip4(47, outer4A, outer4B, "1000 22eb 00000001 2001 0001 00000000 0000 0001 0000000000000000", inner, probe4)), false, nil},
	{"VXLAN", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, inner, probe4))), false, overlay(100)},
	{"VXLAN over IPv6", eth("86dd", ip6(17, outer6A, outer6B, udp(40000, 4789, vxlanHead, inner, probe4))), false, overlay(100)},
	{"VXLAN of old Linux, VLAN inside", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 8472, vxlanHead, macs, "8100 0008 86dd", probe6))), true,
		func(p *Packet) { p.Key.Overlay, p.VLAN, p.Way = 101, 8, 8 }},
	{"VXLAN with VNI 0", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, "08000000 00000000", inner, probe4))), false, overlay(0)},
	{"GENEVE", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 6081, geneveHead, inner, probe4))), false, overlay(100)},
	{"GENEVE with IP", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 6081, "0000 86dd 00006400", probe6))), true, overlay(100)},
	{"VXLAN from a port that is GTP-U's", eth("0800", ip4(17, outer4A, outer4B, udp(2152, 4789, vxlanHead, inner, probe4))), false, overlay(100)},
	{"GTP-U from a port that is VXLAN's", eth("0800", ip4(17, outer4A, outer4B, udp(4789, 2152, "30ff 0035 00000001", probe4))), false, nil},
	{"GTP-U", eth("0800", ip4(17, outer4A, outer4B, udp(2152, 2152, "30ff 0035 00000001", probe4))), false, nil},
	{"GTP-U with sequence number", eth("0800", ip4(17, outer4A, outer4B, udp(2152, 2152, "32ff 0039 00000001 0001 0000", probe4))), false, nil},
	{"GTP-U with extension headers", eth("0800", ip4(17, outer4A, outer4B, udp(2152, 2152, "34ff 0039 00000001 0000 00 85 01 0000 c0 01 0000 00", probe4))), false, nil},
	{"Teredo", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 3544, probe6))), true, nil},
	{"Teredo with authentication and origin", eth("0800", ip4(17, outer4A, outer4B, udp(3544, 40000, "0001 0000 0000000000000000 00 0000 1234 00000000", probe6))), true, nil},
	{"AYIYA", eth("0800", ip4(17, outer4A, outer4B, udp(40000, 5072, "4152 1129 00000000", make([]byte, 36), probe6))), true, nil},
	{"VXLAN in VXLAN: the inner VNI counts", eth("0800", ip4(17, outer4A, outer4B, udp(1, 4789, "08000000 00000700", inner,
		ip4(17, outer4B, outer4A, udp(1, 4789, vxlanHead, inner, probe4))))), false, overlay(100)},
	{"fourteen headers", eth("0800", nested(12)), false, nil},
}

// channelled are the tunnels that tell their channels apart by a number that is
// no part of a Key.
var channelled = map[string]bool{
	"GRE with checksum, key and sequence": true, "NVGRE": true,
	"GTP-U": true, "GTP-U from a port that is VXLAN's": true, "GTP-U with sequence number": true, "GTP-U with extension headers": true,
}

func TestProbeInEveryTunnel(t *testing.T) {
	for _, tt := range tunnelFrames {
		t.Run(tt.name, func(t *testing.T) {
			want := probeIn(tt.frame, tt.is6)
			if tt.but != nil {
				tt.but(&want)
			}
			got := decodeWhole(1, tt.frame)
			if channelled[tt.name] {
				if got.Way < MinDigest {
					t.Errorf("way %d, want a digest of the tunnel's number", got.Way)
				}
				got.Way = 0
			}
			want.Settle()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("DecodeFrame (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTunnelPortAloneMakesNoTunnel(t *testing.T) {
	for name, frame := range map[string][]byte{
		"VXLAN flags":               ip4(17, outer4A, outer4B, udp(40000, 4789, "01000000 00006400", inner, probe4)),
		"VXLAN reserved octet":      ip4(17, outer4A, outer4B, udp(40000, 4789, "08000000 00006401", inner, probe4)),
		"VXLAN with spanning tree":  ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, macs, "0026 424203", make([]byte, 40))),
		"VXLAN, inner length":       ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, inner, edit(edit(probe4, 3, 0xff), 10, 0xee))),
		"VXLAN, inner header":       ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, inner, edit(probe4, 0, 0x44))),
		"GENEVE version":            ip4(17, outer4A, outer4B, udp(40000, 6081, "c000 6558 00006400", inner, probe4)),
		"GENEVE control":            ip4(17, outer4A, outer4B, udp(40000, 6081, "0080 6558 00006400", inner, probe4)),
		"GENEVE options too long":   ip4(17, outer4A, outer4B, udp(40000, 6081, "3f00 6558 00006400", "0000")),
		"GTP echo":                  ip4(17, outer4A, outer4B, udp(2152, 2152, "3201 0004 00000000 0000 0000")),
		"GTP extension of length 0": ip4(17, outer4A, outer4B, udp(2152, 2152, "34ff 0039 00000001 0000 00 85 00 0000 00", probe4)),
		"Teredo with IPv4":          ip4(17, outer4A, outer4B, udp(40000, 3544, probe4)),
		"AYIYA without a packet":    ip4(17, outer4A, outer4B, udp(40000, 5072, "4152 103b 00000000", make([]byte, 36))),
		"UDP header cut":            ip4(17, outer4A, outer4B, "1234 12b5"),
		"GRE with routing":          ip4(47, outer4A, outer4B, "4000 0800 00000000 00000000", probe4),
		"GRE version 2":             ip4(47, outer4A, outer4B, "0002 0800", probe4),
		"GRE keepalive":             ip4(47, outer4A, outer4B, "0000 0000"),
		"PPTP acknowledgment":       ip4(47, outer4A, outer4B, "2081 880b 0000 0001 00000001"),
		"PPP control in PPTP":       ip4(47, outer4A, outer4B, "3001 880b 0008 0001 00000002 ff03 c021 0901 0004"),
		"ERSPAN III version":        ip4(47, outer4A, outer4B, "1000 22eb 00000001 3001 0001 00000000 0000 0000", inner, probe4),
		"IPIP without a packet":     ip4(4, outer4A, outer4B, make([]byte, 60)),
	} {
		got := decodeWhole(1, eth("0800", frame))
		if got.Proto != Other || got.Key != hosts(outer4A, outer4B) || got.Note != 0 {
			t.Errorf("%s: proto %d, key %v, note %b; want Other between the outer hosts", name, got.Proto, got.Key, got.Note)
		}
	}
}

func TestTunnelWhoseSegmentIsDamagedIsUndecoded(t *testing.T) {
	bad := ip4(6, client4, server4, "c822 0016 00000fff 00002000 4010 01f5 0000 0000")
	frame := eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, inner, bad)))
	if got := decodeWhole(1, frame); got != (Packet{}) {
		t.Errorf("DecodeFrame = %+v, want undecoded", got)
	}
}

func TestTunnelInFirstFragment(t *testing.T) {
	packet := ip4(6, client4, server4, tcpHeader, make([]byte, 1400))
	frame := eth("0800", ip4Flags(17, 0x2000, outer4A, outer4B, udp(2152, 2152, "30ff 05a8 00000001", packet[:800])))
	got := decodeWhole(1, frame)
	if got.Proto != TCP || got.Seg.Len != 1400 || got.Note != 0 {
		t.Errorf("proto %d, length %d, note %b; want TCP, 1400 by the inner header, none", got.Proto, got.Seg.Len, got.Note)
	}
}

func TestMirrorThatCutsPackets(t *testing.T) {
	packet := ip6(6, client6, server6, tcpHeader, make([]byte, 1400))
	frame := eth("0800", ip4(47, outer4A, outer4B, "1000 88be 00000001 1001 0401 00000000", macs, "86dd", packet[:100]))
	if got := decodeWhole(1, frame); got.Proto != TCP || got.Seg.Len != 1400 || got.DataLen != 28 {
		t.Errorf("proto %d, length %d, captured %d; want TCP, 1400, 28", got.Proto, got.Seg.Len, got.DataLen)
	}
}

func TestBigTCPInVXLAN(t *testing.T) {
	packet := edit(edit(probe6, 4, 0), 5, 0)
	outer := ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, macs, "86dd", packet))
	outer[2], outer[3] = 0, 0
	frame := eth("0800", sumIP4(outer))
	got := DecodeFrame(1, frame, 80000)
	if got.Proto != TCP || got.Seg.Len != uint32(80000-len(frame)+1) || got.Note != NoteTSO|NoteCut {
		t.Errorf("proto %d, length %d, note %b; want TCP, %d, NoteTSO and NoteCut", got.Proto, got.Seg.Len, got.Note, 80000-len(frame)+1)
	}
}

func TestARPInVXLAN(t *testing.T) {
	arp := "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"
	frame := eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, macs, "0806", arp)))
	want := Packet{Proto: ARP, ICMP: 1, Key: hosts("192.0.2.1", "192.0.2.2")}
	want.Key.Overlay = 101
	want.Seg.Seq, want.Seg.Ack = digest(octets("020000000001"))
	want.Settle()
	if diff := cmp.Diff(want, decodeWhole(1, frame)); diff != "" {
		t.Errorf("DecodeFrame (-want +got):\n%s", diff)
	}
}

func TestTagsInATunnelShareTheBudget(t *testing.T) {
	frame := eth("0800", ip4(17, outer4A, outer4B, udp(40000, 4789, vxlanHead, macs, strings.Repeat("8100 0001", 18), "0800", probe4)))
	got := reasons(1, frame, len(frame))
	if diff := cmp.Diff(map[string]uint64{tooDeep: 1}, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}
