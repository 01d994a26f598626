package flows

import (
	"time"

	"kaflow/capture"
	"kaflow/tcp"
)

// Sides parts a capture that holds packets twice, before and after a router, in
// what each side of the router saw: two vantage points in one file. Both have
// one clock, and what is on one side only was lost in between.
//
// A packet is first seen on the side that it comes from and then, with a lower
// TTL, on the other. Hosts that exchange such packets are on different sides.
type Sides struct {
	sides  map[[4]uint32]uint8
	pairs  map[[2][4]uint32]hops // of hosts with the router between them: smaller address first
	recent [1 << 14]passed
	lately [512]twoHosts // what the maps say, by a hash of the addresses: the same hosts come again
	age    uint32        // goes on when a host's side is learned: what lately says of others may not hold any more

	segments, copies [2]uint64 // from hosts of each side
}

// twoHosts is what is known of two hosts, Lo's and Hi's of a key.
type twoHosts struct {
	lo, hi [4]uint32
	age    uint32 // 0: nothing was asked
	side   [2]uint8
	known  [2]bool // their sides
	routed bool    // the router is between them
	usual  hops
}

// hops are the TTLs of what a pair of hosts sends, by direction: before the
// router and behind it. 0 is not known.
type hops [2]struct{ before, behind uint8 }

type passed struct {
	print uint64
	at    tcp.Instant
	ttl   uint8
}

// routing is how long a router may take.
const routing = 500 * time.Millisecond

// NewSides returns a parting that has learned nothing yet.
func NewSides() *Sides {
	return &Sides{sides: map[[4]uint32]uint8{}, pairs: map[[2][4]uint32]hops{}, age: 1}
}

// of returns what is known of the hosts of a key. It holds until more is learned.
func (s *Sides) of(k *capture.Key) *twoHosts {
	h := &s.lately[hostsPrint(k)%uint64(len(s.lately))]
	if h.age != s.age || h.lo != k.Lo || h.hi != k.Hi {
		*h = twoHosts{lo: k.Lo, hi: k.Hi, age: s.age}
		h.side[0], h.known[0] = s.sides[k.Lo]
		h.side[1], h.known[1] = s.sides[k.Hi]
		h.usual, h.routed = s.pairs[[2][4]uint32{k.Lo, k.Hi}]
	}
	return h
}

// maxSided bounds the hosts whose side is remembered.
const maxSided = 1 << 20

// Learn finds out from the packets of a first reading who is on which side.
func (s *Sides) Learn(b *capture.Batch) {
	for i := range b.Pkts[:b.N] {
		p := &b.Pkts[i]
		if p.Proto != capture.TCP && p.Proto != capture.Echo || p.Key.Lo == p.Key.Hi {
			continue
		}
		h, from, to := s.of(&p.Key), way(p), 1-way(p)
		before, copied := s.copied(p)
		if p.Proto == capture.TCP && h.known[from] {
			s.segments[h.side[from]]++
			if copied {
				s.copies[h.side[from]]++
			}
		}
		if !copied || len(s.sides) >= maxSided || len(s.pairs) >= maxSided || h.known == [2]bool{true, true} && h.side[0] == h.side[1] {
			continue // where both are on one side, they cannot both be right: such a pair is left alone
		}
		if h.known != [2]bool{true, true} {
			switch {
			case h.known[from]:
				h.side[to] = 1 - h.side[from]
			case h.known[to]:
				h.side[from] = 1 - h.side[to]
			default: // the first of all, or hosts that meet no known one
				h.side[from], h.side[to] = 0, 1
			}
			s.sides[p.Key.Lo], s.sides[p.Key.Hi] = h.side[0], h.side[1]
			h.known = [2]bool{true, true}
			s.age++
			h.age = s.age
		}
		if usual := &h.usual[from]; !h.routed || usual.before != before || usual.behind != p.Seg.TTL {
			usual.before, usual.behind, h.routed = before, p.Seg.TTL, true
			s.pairs[[2][4]uint32{p.Key.Lo, p.Key.Hi}] = h.usual
		}
	}
}

// Learned is how many packets Learn has to see before it knows whether a
// capture is to be parted.
const Learned = 1 << 14

// Both reports whether the capture holds both sides of a router, and both ways
// through it: what was lost in between is there once, so not every packet need
// be there twice.
func (s *Sides) Both() bool {
	for side := range s.copies {
		if s.copies[side] < 2 || s.copies[side] < s.segments[side]/6 {
			return false
		}
	}
	return true
}

// Rewind forgets the packets, not the hosts, before the capture is read again.
func (s *Sides) Rewind() { clear(s.recent[:]) }

// Part hides in a batch the packets that the second side saw, and in another one, which
// becomes the same otherwise, those that the first saw.
func (s *Sides) Part(first, second *capture.Batch) {
	*second = *first
	for i := range first.Pkts[:first.N] {
		p := &first.Pkts[i]
		if p.Proto == capture.Undecoded || p.Proto == capture.ARP {
			continue
		}
		h := s.of(&p.Key)
		at := h.origin(p)
		if s.behind(h, p) {
			at = 1 - at
		}
		if at == 0 {
			second.Pkts[i].Hide()
		} else {
			p.Hide()
		}
	}
}

// Host returns a host of a side by which it can be named, that of the first
// packet of a batch which holds one; false where it holds none.
func (s *Sides) Host(b *capture.Batch, side uint8) (string, bool) {
	for i := range b.Pkts[:b.N] {
		p := &b.Pkts[i]
		if p.Proto != capture.TCP {
			continue
		}
		from, to := ends(p)
		for _, end := range [][4]uint32{from, to} {
			if at, known := s.sides[end]; known && at == side {
				return capture.Addr(end).String(), true
			}
		}
	}
	return "", false
}

// behind reports whether a packet was recorded behind the router: it was there
// before with a higher TTL or, where the two records stand the other way round,
// has the TTL that packets have there.
func (s *Sides) behind(h *twoHosts, p *capture.Packet) bool {
	if _, copied := s.copied(p); copied || !h.routed {
		return copied && h.routed
	}
	usual := h.usual[way(p)]
	return p.Proto != capture.ICMPError && usual.behind != 0 && p.Seg.TTL == usual.behind && usual.behind != usual.before
}

func way(p *capture.Packet) int {
	if p.Reversed {
		return 1
	}
	return 0
}

// origin returns the side that a packet is first seen on. Two hosts of which no
// packet was routed are taken to be on one side, together. An ICMP error goes to
// the sender of what it quotes, and is told there.
func (h *twoHosts) origin(p *capture.Packet) uint8 {
	switch {
	case h.routed:
		return h.side[way(p)]
	case h.known[0]:
		return h.side[0]
	case h.known[1]:
		return h.side[1]
	}
	return 0
}

// ends returns the sender's and the receiver's address; of an ICMP error those
// of what it quotes.
func ends(p *capture.Packet) (from, to [4]uint32) {
	if p.Reversed {
		return p.Key.Hi, p.Key.Lo
	}
	return p.Key.Lo, p.Key.Hi
}

// copied reports whether the same packet was there a moment ago with a higher
// TTL, and with which, and remembers it.
func (s *Sides) copied(p *capture.Packet) (before uint8, copied bool) {
	if p.Proto != capture.TCP && p.Proto != capture.Echo {
		return 0, false
	}
	h := printOf(uint32(p.ICMP), 0, &p.Seg) ^ keyPrint(p)
	r := &s.recent[h>>50]
	d := p.At.Sub(r.at)
	if r.print == h && d >= 0 && d <= routing && r.ttl > p.Seg.TTL {
		return r.ttl, true
	}
	*r = passed{h, p.At, p.Seg.TTL}
	return 0, false
}

// keyPrint condenses a packet's ends and direction.
func keyPrint(p *capture.Packet) uint64 {
	way := uint64(p.Key.Ports)
	if p.Reversed {
		way |= 1 << 40
	}
	return mix(hostsPrint(&p.Key)^0x8ebc6af0, way|1<<50)
}

// hostsPrint condenses two addresses.
func hostsPrint(k *capture.Key) uint64 {
	h := mix(uint64(k.Lo[0])<<32|uint64(k.Lo[1])^0xa0761d64, uint64(k.Lo[2])<<32|uint64(k.Lo[3])|1)
	return mix(h^uint64(k.Hi[0])<<32^uint64(k.Hi[1])^0xe7037ed1, uint64(k.Hi[2])<<32|uint64(k.Hi[3])|1)
}
