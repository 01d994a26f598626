package pairing

import (
	"net/netip"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// side is one vantage point as the rest of the package reads it.
type side struct {
	name        string
	cards       []flows.Glance // of all flows
	flows       []*flows.Flow  // their views; nil until asked for
	table       *flows.Table
	closed      []*flows.Closed
	hosts       func(*capture.Key) (flows.HostPair, bool)
	asked       map[hostsKey]hostPair // what hosts answered
	files       []capture.File
	holes       []capture.Interval
	covers      []capture.Interval // the user's word
	pauses      map[hostsKey][]capture.Interval
	frame       func(tcp.Ordinal) (file int, frame uint64)
	first, last tcp.Instant // of all files; zero where not known
	unfiltered  bool        // every file is plainly unfiltered
	drops       uint64      // packets dropped at a time that no hole tells
	tick        tcp.Instant // all times are multiples of it
	evicted     int         // flows that a limit drove out
	services    map[service][]capture.Key
}

// newSide reads a point's table.
func newSide(p Point, covers []capture.Interval) *side {
	s := &side{name: p.Name, files: p.Files, holes: p.Holes, covers: covers, frame: p.Frame}
	if p.Table != nil {
		s.hosts = p.Table.HostPair
		s.evicted = p.Table.Evicted()
		s.table = p.Table
		s.cards = make([]flows.Glance, 0, p.Table.Live())
		for g := range p.Table.Glances() {
			s.cards = append(s.cards, *g)
		}
		s.flows = make([]*flows.Flow, len(s.cards))
		for c := range p.Table.ClosedFlows() {
			s.closed = append(s.closed, c)
		}
	}
	s.settle()
	return s
}

// settle works out what the files and flows say of the whole capture.
func (s *side) settle() {
	s.unfiltered = len(s.files) > 0
	for i := range s.files {
		f := &s.files[i]
		if f.Frames == 0 {
			continue
		}
		if s.first == 0 || f.First < s.first {
			s.first = f.First
		}
		if s.last == 0 || f.Last > s.last {
			s.last = f.Last
		}
		s.unfiltered = s.unfiltered && f.Unfiltered
		s.drops += f.Drops
	}
	for _, h := range s.holes {
		if h.Why == capture.WhyDropped {
			s.drops = 0 // the holes tell when
		}
	}
	s.tick = s.resolution()
}

// flow returns the view of a flow, which is built the first time.
func (s *side) flow(i int) *flows.Flow {
	if s.flows[i] == nil {
		f, ok := s.table.Flow(s.cards[i].ID)
		if !ok {
			return &flows.Flow{ID: s.cards[i].ID, Key: s.cards[i].Key}
		}
		s.flows[i] = f
	}
	return s.flows[i]
}

// fewFlows are so few that the time of every event is looked at.
const fewFlows = 256

// resolution returns the coarsest usual unit of which all times of the flows
// are multiples: a file in microseconds cuts off up to 999 ns of each.
func (s *side) resolution() tcp.Instant {
	tick := tcp.Instant(1e9)
	fits := func(at tcp.Instant) {
		for tick > 1 && at%tick != 0 {
			tick /= 10
		}
	}
	for i := range s.cards {
		fits(s.cards[i].First)
		fits(s.cards[i].Last)
		if len(s.cards) > fewFlows {
			continue
		}
		for k := range s.flow(i).Events {
			fits(s.flow(i).Events[k].At)
		}
	}
	return tick
}

// ref points at a frame of the side.
func (s *side) ref(vantage int, e *flows.Event) Ref {
	return s.refAt(vantage, e.Ord, e.Kind, e.At)
}

func (s *side) refAt(vantage int, ord tcp.Ordinal, kind flows.Kind, at tcp.Instant) Ref {
	r := Ref{Vantage: vantage, Ord: ord, Kind: kind, At: at, Frame: uint64(ord)}
	if s.frame != nil && ord != 0 {
		r.File, r.Frame = s.frame(ord)
	}
	return r
}

// hostPair returns what the side saw between the two hosts of k.
func (s *side) hostPair(k *capture.Key) (flows.HostPair, bool) {
	if s.hosts == nil {
		return flows.HostPair{}, false
	}
	at := hostsOf(k)
	pair, known := s.asked[at]
	if !known { // behind a NAT thousands of connections ask for the same two
		h, ok := s.hosts(k)
		pair = hostPair{h, ok}
		if s.asked == nil {
			s.asked = map[hostsKey]hostPair{}
		}
		s.asked[at] = pair
	}
	return pair.HostPair, pair.ok
}

// hostPair is what a side saw between two hosts, and whether it did.
type hostPair struct {
	flows.HostPair
	ok bool
}

// service is one port of a server, as one pair of hosts uses it.
type service struct {
	hosts  hostsKey
	server netip.AddrPort
}

// keysOf returns the addresses of the connections to a service, in no order.
func (s *side) keysOf(k service) []capture.Key {
	if s.services == nil {
		s.services = map[service][]capture.Key{}
		for i := range s.cards {
			key := &s.cards[i].Key
			for _, end := range [2]netip.AddrPort{key.LoEnd(), key.HiEnd()} {
				at := service{hostsOf(key), end}
				if keys := s.services[at]; len(keys) < 2 && !slices.Contains(keys, *key) { // two tell whether there is another
					s.services[at] = append(keys, *key)
				}
			}
		}
	}
	return s.services[k]
}

// hostsKey names the two hosts of a conversation.
type hostsKey struct{ lo, hi [4]uint32 }

func hostsOf(k *capture.Key) hostsKey { return hostsKey{k.Lo, k.Hi} }

// clientIsHi reports whether the flow's client is the key's Hi end.
func clientIsHi(f *flows.Flow) bool {
	client := netip.AddrPortFrom(f.Sides[flows.Client].Addr.Addr().Unmap(), f.Sides[flows.Client].Addr.Port())
	return client == f.Key.HiEnd() && client != f.Key.LoEnd()
}

// selfConnected reports whether both ends are the same: there is no direction.
func selfConnected(f *flows.Flow) bool { return f.Key.LoEnd() == f.Key.HiEnd() }

// mirrored returns the flow with client and server exchanged, for a point that
// missed the SYN and guessed the roles the other way round.
func mirrored(f *flows.Flow) *flows.Flow {
	m := *f
	m.Sides[0], m.Sides[1] = f.Sides[1], f.Sides[0]
	m.VLANs[0], m.VLANs[1] = f.VLANs[1], f.VLANs[0]
	m.Events = make([]flows.Event, len(f.Events))
	for i, e := range f.Events {
		e.From = opposite(e.From)
		if e.Run != nil {
			run := *e.Run
			run.Count[0], run.Count[1] = run.Count[1], run.Count[0]
			run.Octets[0], run.Octets[1] = run.Octets[1], run.Octets[0]
			run.LastFrom = opposite(run.LastFrom)
			e.Run = &run
		}
		m.Events[i] = e
	}
	m.Gaps = append([]flows.Gap(nil), f.Gaps...)
	for i := range m.Gaps {
		m.Gaps[i].Sender = opposite(m.Gaps[i].Sender)
	}
	m.Anchors = append([]flows.Anchor(nil), f.Anchors...)
	for i := range m.Anchors {
		m.Anchors[i].From = opposite(m.Anchors[i].From)
	}
	return &m
}

// opposite returns the other sender; Unclear stays.
func opposite(from uint8) uint8 {
	if from == flows.Unclear {
		return from
	}
	return 1 - from
}
