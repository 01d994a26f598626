package capture

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/tcp"
)

// octets turns hexadecimal text with any white space into octets.
func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("bad test octets: %v", err)
	}
	return b
}

// A probe from 192.0.2.1:51234 to 198.51.100.2:22 with one octet of garbage.
const (
	macs     = "020000000002 020000000001 "
	ipv4Head = "45000035 1234 4000 4006 3c58 c0000201 c6336402 "
	tcpProbe = "c8220016 00000fff 00002000 8010 01f5 0000 0000 0101080a 00001111 00002222 "
	garbage  = "41 "
	probe4   = ipv4Head + tcpProbe + garbage
)

func key(t testing.TB, src, dst string) (Key, bool) {
	t.Helper()
	return MakeKey(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), 0)
}

func TestProbeInEthernet(t *testing.T) {
	got := DecodeFrame(1, octets(t, macs+"0800"+probe4), 67)
	k, _ := key(t, "192.0.2.1:51234", "198.51.100.2:22")
	want := Packet{
		Key: k, Proto: TCP, Data: 66, DataLen: 1,
		Seg: tcp.Segment{
			Seq: 0xfff, Ack: 0x2000, Flags: tcp.ACK, Win: 501, Len: 1, TTL: 64, IPID: 0x1234,
			TSVal: 0x1111, TSEcr: 0x2222, Opts: tcp.OptTimestamps, OptHash: hashNopNopTS,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DecodeFrame (-want +got):\n%s", diff)
	}
}

func BenchmarkDecode(b *testing.B) {
	frame := octets(b, macs+"0800"+probe4)
	var d decoder
	b.ReportAllocs()
	for b.Loop() {
		var p Packet
		d.frame(1, 0, frame, uint32(len(frame)), &p)
	}
}
