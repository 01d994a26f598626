package rewrite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Addresses replaces addresses by others, always the same one by the same
// other, whatever capture they come from. Addresses that are nobody's keep
// their meaning: unspecified, loopback and broadcast addresses stay, multicast
// groups and the NAT64 prefix lose only what of a host is in them. It serves one
// goroutine.
type Addresses struct {
	scheme  scheme
	forward map[netip.Addr]netip.Addr
	macs    map[string]string // by the MAC; what replaces it
}

// scheme gives an address that was not seen before its replacement.
type scheme interface {
	replace(netip.Addr) netip.Addr
	restore(from, to netip.Addr) // as an earlier run had it
}

// NewAddresses returns a map into the address space for documentation (RFC
// 5737, RFC 3849), numbered as they come: hosts of one /24, or of one IPv6 /64,
// stay together. Three such IPv4 networks are there; more go to what is set
// aside for benchmarks (RFC 2544), then to the reserved class E.
func NewAddresses() *Addresses {
	return newAddresses(&numbered{nets: map[netip.Prefix]*subnet{}})
}

// NewKeyedAddresses returns a map that depends on a key of 32 octets alone
// (Crypto-PAn; Xu, Fan, Ammar, Moon: ICNP 2002): addresses that share n bits
// share n bits afterwards.
func NewKeyedAddresses(key []byte) (*Addresses, error) {
	p, err := newCryptoPAn(key)
	if err != nil {
		return nil, err
	}
	return newAddresses(p), nil
}

func newAddresses(s scheme) *Addresses {
	return &Addresses{scheme: s, forward: map[netip.Addr]netip.Addr{}, macs: map[string]string{}}
}

// Addr returns what an address is replaced by.
func (m *Addresses) Addr(a netip.Addr) netip.Addr {
	a = a.WithZone("")
	if a.Is4In6() {
		return netip.AddrFrom16(m.Addr(a.Unmap()).As16())
	}
	if to, known := m.forward[a]; known {
		return to
	}
	to, ours := common(a)
	if !ours {
		if nat64.Contains(a) {
			to = m.embedded(a)
		} else {
			to = m.scheme.replace(a)
		}
	}
	m.forward[a] = to
	return to
}

// Pairs calls f for every address that was replaced by another.
func (m *Addresses) Pairs(f func(from, to netip.Addr)) {
	for from, to := range m.forward {
		if from != to {
			f(from, to)
		}
	}
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	solicited = netip.MustParsePrefix("ff02::1:ff00:0/104")
	thisNet   = netip.MustParsePrefix("0.0.0.0/8")
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// common returns the replacement of an address that is no host's, and whether
// it is such a one.
func common(a netip.Addr) (netip.Addr, bool) {
	switch {
	case a.IsUnspecified(), a.IsLoopback(), a == broadcast, thisNet.Contains(a):
		return a, true
	case solicited.Contains(a):
		return solicited.Addr(), true
	case a.Is6() && a.IsMulticast():
		b := a.As16()
		clear(b[2:14]) // a group can be named after a network (RFC 3306)
		return netip.AddrFrom16(b), true
	}
	return a, a.IsMulticast()
}

// embedded replaces the IPv4 address within an address of a translator.
func (m *Addresses) embedded(a netip.Addr) netip.Addr {
	b := a.As16()
	four := m.Addr(netip.AddrFrom4([4]byte(b[12:]))).As4()
	copy(b[12:], four[:])
	return netip.AddrFrom16(b)
}

// MAC replaces a link-layer address in place: by locally administered ones,
// numbered as they come. Group addresses lose what of a host is in them.
func (m *Addresses) MAC(b []byte) {
	zero := true
	for _, octet := range b {
		zero = zero && octet == 0
	}
	switch {
	case zero || len(b) == 0:
		return
	case len(b) == 6 && b[0]&1 != 0:
		if b[0] == 0x33 && b[1] == 0x33 && b[2] == 0xff {
			clear(b[3:])
		}
		return
	}
	to, known := m.macs[string(b)]
	if !known {
		n := make([]byte, max(8, len(b)))
		binary.BigEndian.PutUint64(n[len(n)-8:], uint64(len(m.macs)+1))
		n = n[len(n)-len(b):]
		if len(n) > 1 {
			n[0] = 2
		}
		to = string(n)
		m.macs[string(b)] = to
	}
	copy(b, to)
}

// numbered gives out addresses for documentation.
type numbered struct {
	nets   map[netip.Prefix]*subnet
	n4, n6 uint32 // networks so far
	over   uint32 // hosts in the overflow so far
}

type subnet struct {
	base netip.Addr
	last uint64 // host number given out last
}

func (x *numbered) replace(a netip.Addr) netip.Addr {
	net := x.net(a)
	if a.Is4() {
		b, host := net.base.As4(), a.As4()[3]
		switch {
		case host == 0 || host == 255: // a network's own, and its broadcast address
			b[3] = host
		case net.last >= 254 || b == [4]byte{}:
			return x.overflow()
		default:
			net.last++
			b[3] = byte(net.last)
		}
		return netip.AddrFrom4(b)
	}
	b := net.base.As16()
	net.last++
	binary.BigEndian.PutUint64(b[8:], net.last)
	return netip.AddrFrom16(b)
}

// Where the networks of documentation come from, and how many of them there
// are before the reserved space begins.
const (
	documentation = 3
	benchmark     = 512
	reserved      = 1 << 19
)

func (x *numbered) net(a netip.Addr) *subnet {
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = netip.AddrFrom16([16]byte{0xfe, 0x80})
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	prefix, _ := a.Prefix(bits)
	if s := x.nets[prefix]; s != nil {
		return s
	}
	s := &subnet{base: x.next(a)}
	x.nets[prefix] = s
	return s
}

// next returns the base of a network for addresses like a.
func (x *numbered) next(a netip.Addr) netip.Addr {
	if a.Is6() {
		if a.IsLinkLocalUnicast() {
			return a
		}
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(b[4:], x.n6)
		x.n6++
		return netip.AddrFrom16(b)
	}
	n := x.n4
	x.n4++
	switch {
	case n < documentation:
		return netip.AddrFrom4([...][4]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}[n])
	case n < documentation+benchmark:
		n -= documentation
		return netip.AddrFrom4([4]byte{198, 18 + byte(n>>8), byte(n)})
	case n < documentation+benchmark+reserved:
		n -= documentation + benchmark
		return netip.AddrFrom4([4]byte{240 + byte(n>>16), byte(n >> 8), byte(n)})
	}
	return netip.AddrFrom4([4]byte{}) // no network left: hosts one by one
}

// overflow gives out hosts of the upper half of the reserved space, for whom
// no network was left.
func (x *numbered) overflow() netip.Addr {
	x.over++
	return netip.AddrFrom4([4]byte{248 + byte(x.over>>24)&7, byte(x.over >> 16), byte(x.over >> 8), byte(x.over)})
}

func (x *numbered) restore(from, to netip.Addr) {
	if from.Is4() {
		b := to.As4()
		if b[0] >= 248 {
			x.over = max(x.over, uint32(b[0]&7)<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
			return
		}
		host := uint64(b[3])
		b[3] = 0
		prefix, _ := from.Prefix(24)
		s := x.nets[prefix]
		if s == nil {
			s = &subnet{base: netip.AddrFrom4(b)}
			x.nets[prefix] = s
			x.n4 = max(x.n4, index4(b)+1)
		}
		if host != 255 {
			s.last = max(s.last, host)
		}
		return
	}
	b := to.As16()
	host := binary.BigEndian.Uint64(b[8:])
	if from.IsLinkLocalUnicast() {
		s := x.net(from)
		s.last = max(s.last, host)
		return
	}
	prefix, _ := from.Prefix(64)
	s := x.nets[prefix]
	if s == nil {
		n := binary.BigEndian.Uint32(b[4:])
		clear(b[8:])
		s = &subnet{base: netip.AddrFrom16(b)}
		x.nets[prefix] = s
		x.n6 = max(x.n6, n+1)
	}
	s.last = max(s.last, host)
}

// index4 is the inverse of next for an IPv4 network.
func index4(b [4]byte) uint32 {
	switch b[0] {
	case 192:
		return 0
	case 198:
		if b[1] == 51 {
			return 1
		}
		return documentation + uint32(b[1]-18)<<8 + uint32(b[2])
	case 203:
		return 2
	}
	return documentation + benchmark + uint32(b[0]-240)<<16 + uint32(b[1])<<8 + uint32(b[2])
}

// Save writes the map, one address a line with a tab and its replacement, in
// the order of the addresses.
func (m *Addresses) Save(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "# What kaflow replaced addresses by. Keep it to yourself: it undoes the replacement.")
	for _, from := range slices.SortedFunc(maps.Keys(m.forward), netip.Addr.Compare) {
		if _, ours := common(from); !ours {
			to := m.forward[from]
			fmt.Fprintf(b, "%v\t%v\n", from, to)
		}
	}
	for _, mac := range slices.Sorted(maps.Keys(m.macs)) {
		fmt.Fprintf(b, "%x\t%x\n", mac, m.macs[mac])
	}
	return b.Flush()
}

// Load takes over a map that Save wrote, so that captures of different days
// are given the same replacements.
func (m *Addresses) Load(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		from, to, found := strings.Cut(line, "\t")
		if !found {
			return fmt.Errorf("line %d: want an address, a tab and its replacement", n)
		}
		if err := m.load(from, to); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

var errEntry = errors.New("want two addresses of one kind")

func (m *Addresses) load(from, to string) error {
	a, err1 := netip.ParseAddr(from)
	b, err2 := netip.ParseAddr(to)
	if err1 == nil && err2 == nil && a.Is4() == b.Is4() {
		m.forward[a] = b
		if _, ours := common(a); !ours && !nat64.Contains(a) {
			m.scheme.restore(a, b)
		}
		return nil
	}
	var x, y []byte
	if _, err := fmt.Sscanf(from+" "+to, "%x %x", &x, &y); err != nil || len(x) != len(y) {
		return errEntry
	}
	m.macs[string(x)] = string(y)
	return nil
}
