package rewrite_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kaflow/internal/rewrite"
)

// The key and the pairs of the sample trace that the authors of Crypto-PAn
// publish with it.
func TestKeyedAddressesAreCryptoPAn(t *testing.T) {
	key := []byte{21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2}
	m, err := rewrite.NewKeyedAddresses(key)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"128.11.68.132": "135.242.180.132", "129.118.74.4": "134.136.186.123", "130.132.252.244": "133.68.164.234",
		"141.223.7.43": "141.167.8.160", "141.233.145.108": "141.129.237.235", "152.163.225.39": "151.140.114.167",
	} {
		if got := m.Addr(netip.MustParseAddr(from)); got.String() != to {
			t.Errorf("%s became %v, want %s", from, got, to)
		}
	}
	if _, err := rewrite.NewKeyedAddresses(key[:31]); err == nil {
		t.Error("a short key is taken")
	}
}

func address(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v4") {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "octets")))
	}
	b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "octets"))
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		copy(b[:], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0})
	case 1:
		copy(b[:], []byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	return netip.AddrFrom16(b)
}

// Two addresses never become one, one never becomes two, those of hosts never
// stay what they are by more than chance, and what a file holds is gone on with.
func TestReplacementIsOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rewrite.NewAddresses()
		if rapid.Bool().Draw(t, "keyed") {
			m, _ = rewrite.NewKeyedAddresses(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		}
		back := map[netip.Addr]netip.Addr{}
		put := func(m *rewrite.Addresses, a netip.Addr) {
			to := m.Addr(a)
			if to != m.Addr(a) {
				t.Fatalf("%v becomes %v, then %v", a, to, m.Addr(a))
			}
			if a.IsMulticast() { // groups may fall together
				return
			}
			if old, used := back[to]; used && old != a {
				t.Fatalf("%v and %v both become %v", old, a, to)
			}
			back[to] = a
			if a.Is4() != to.Is4() || a.IsLoopback() != to.IsLoopback() || a.IsUnspecified() != to.IsUnspecified() {
				t.Fatalf("%v becomes %v", a, to)
			}
		}
		all := rapid.SliceOfN(rapid.Custom(address), 1, 60).Draw(t, "addresses")
		for _, a := range all {
			put(m, a.Unmap())
		}
		var file bytes.Buffer
		if err := m.Save(&file); err != nil {
			t.Fatal(err)
		}
		again := rewrite.NewAddresses()
		if err := again.Load(&file); err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if a = a.Unmap(); !a.IsMulticast() && again.Addr(a) != m.Addr(a) {
				t.Fatalf("%v becomes %v, and from the file %v", a, m.Addr(a), again.Addr(a))
			}
		}
	})
}

// A map goes on where its file ended: hosts that come later get addresses that
// nobody has.
func TestMapIsGoneOnWith(t *testing.T) {
	m := rewrite.NewAddresses()
	first := m.Addr(netip.MustParseAddr("10.0.0.5"))
	six := m.Addr(netip.MustParseAddr("fd00::5"))
	var file bytes.Buffer
	if err := m.Save(&file); err != nil {
		t.Fatal(err)
	}
	again := rewrite.NewAddresses()
	if err := again.Load(&file); err != nil {
		t.Fatal(err)
	}
	taken := map[netip.Addr]bool{first: true, six: true}
	for _, a := range []string{"10.0.0.6", "10.0.1.6", "fd00::6", "fd01::5", "172.16.0.1"} {
		to := again.Addr(netip.MustParseAddr(a))
		if taken[to] {
			t.Errorf("%s becomes %v, which is taken", a, to)
		}
		taken[to] = true
	}
	if got := again.Addr(netip.MustParseAddr("10.0.0.6")).String(); got != "192.0.2.2" {
		t.Errorf("a neighbour becomes %s, want 192.0.2.2", got)
	}
	for _, wrong := range []string{"10.0.0.1", "10.0.0.1\tfd00::1", "x\ty", "0102\t010203"} {
		if rewrite.NewAddresses().Load(strings.NewReader(wrong)) == nil {
			t.Errorf("%q is taken for a map", wrong)
		}
	}
}

// Networks beyond those for documentation go to what is set aside otherwise,
// and hosts stay one to one through a flood of them.
func TestManyNetworks(t *testing.T) {
	m := rewrite.NewAddresses()
	seen := map[netip.Addr]bool{}
	for i := range 700_000 {
		to := m.Addr(netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), 7}))
		if seen[to] {
			t.Fatalf("network %d: %v is given out twice", i, to)
		}
		seen[to] = true
		switch b := to.As4(); {
		case i < 3 && b[0] != 192 && b[0] != 198 && b[0] != 203, i >= 3 && i < 515 && (b[0] != 198 || b[1]&^1 != 18), i >= 515 && b[0] < 240:
			t.Fatalf("network %d becomes %v", i, to)
		}
	}
}
