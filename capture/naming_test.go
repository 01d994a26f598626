package capture

import "testing"

func TestSiblingNames(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"out.pcap", "out.pcap1", true},
		{"out.pcap1", "out.pcap12", true},
		{"out00", "out01", true},
		{"out.pcap1.gz", "out.pcap2.gz", true},
		{"x/out.pcap1", "y/out.pcap2", false},
		{"client.pcap", "server.pcap", false},
		{"client1.pcap", "client2.pcap", false},
		{"a_00001_20260101120000.pcapng", "a_00002_20260101130000.pcapng", true},
		{"a_20260101120000_00001.pcapng", "a_20260101130000_00002.pcapng", true},
		{"a_00001_20260101120000.pcapng", "b_00002_20260101130000.pcapng", false},
		{"t-2026-01-01_12:00:00.pcap", "t-2026-01-01_13:00:00.pcap", true},
		{"t-2026-01-01.pcap", "t-2026-01-02.pcap", true},
		{"t-2026010112.pcap", "t-2026010113.pcap", true},
		{"t-1767261600.pcap", "t-1767265200.pcap", true},
		{"t-20260101.pcap", "t-20260101.pcap1", true},
		{"client-2026-01-01.pcap", "server-2026-01-01.pcap", false},
		{"2026-01-01-host1", "2026-01-01-host2", false},
		{"t-20261399.pcap", "t-20261499.pcap", false}, // no such month
		{"same.pcap", "same.pcap", false},
	}
	for _, test := range tests {
		if got := parseName(test.a).sibling(parseName(test.b)); got != test.want {
			t.Errorf("%s and %s siblings: %v, want %v", test.a, test.b, got, test.want)
		}
		if got := parseName(test.b).sibling(parseName(test.a)); got != test.want {
			t.Errorf("%s and %s siblings: %v, want %v", test.b, test.a, got, test.want)
		}
	}
}
