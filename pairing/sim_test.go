package pairing

import (
	"net/netip"
	"time"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// epoch is when the conversations of the tests begin, in true time.
const epoch = tcp.Instant(1_700_000_000_000_000_000)

var (
	clientEnd = netip.MustParseAddrPort("10.1.1.1:51234")
	serverEnd = netip.MustParseAddrPort("10.2.2.2:22")
)

// wire is one transmission of a conversation, in true time at its sender.
type wire struct {
	at       time.Duration
	from     uint8
	kind     flows.Kind
	flags    tcp.Flags
	seq, ack tcp.Seq
	length   uint32
	ts, ecr  uint32
	ipid     uint16
	lostAt   int // the first tap that it no longer passes, counted from the sender; -1: it arrives
	answers  int // index of the probe that it answers; -1 none
	delays   []time.Duration
}

// arrives reports whether the transmission reached its receiver.
func (w *wire) arrives() bool { return w.lostAt < 0 }

// tap is one vantage point on the path from client to server.
type tap struct {
	name   string
	offset time.Duration
	ppm    float64
	step   time.Duration // added to the clock from stepAt on
	stepAt time.Duration
	steps  map[time.Duration]time.Duration      // more of them: by true time, what is added from then on
	slew   func(at time.Duration) time.Duration // added to the clock, changing slowly
	tick   tcp.Instant
	ttl    uint8 // hops from the client
	drop   func(wire int) bool
	ends   [2]netip.AddrPort // as a translation shows them here; the world's where zero
	shift  [2]uint32         // added to the client's and the server's sequence numbers
}

// clock reads the tap's clock at a true time.
func (t *tap) clock(at time.Duration) tcp.Instant {
	shown := epoch.Add(at + t.offset + time.Duration(t.ppm*1e-6*float64(at)))
	if t.slew != nil {
		shown = shown.Add(t.slew(at))
	}
	if t.step != 0 && at >= t.stepAt {
		shown = shown.Add(t.step)
	}
	for from, by := range t.steps {
		if at >= from {
			shown = shown.Add(by)
		}
	}
	if t.tick > 1 {
		shown -= shown % t.tick
	}
	return shown
}

// world is a conversation, and the taps that it passes, from client to server.
type world struct {
	wires []wire
	taps  []tap
	ends  [2]netip.AddrPort
	noTS  bool
}

// passes returns when wire i passes tap k in true time, and whether it does.
func (w *world) passes(i, k int) (time.Duration, bool) {
	x := &w.wires[i]
	hop := k // taps passed before this one
	if x.from == flows.Server {
		hop = len(w.taps) - 1 - k
	}
	if x.lostAt >= 0 && hop >= x.lostAt {
		return 0, false
	}
	at := x.at
	for h := 0; h <= hop; h++ {
		at += x.delays[h]
	}
	return at, true
}

// recorded is one frame at one tap.
type recorded struct {
	wire int
	at   tcp.Instant
	true time.Duration
}

// frames returns what tap k holds, in its capture order.
func (w *world) frames(k int) (out []recorded) {
	for i := range w.wires {
		if at, ok := w.passes(i, k); ok && (w.taps[k].drop == nil || !w.taps[k].drop(i)) {
			out = append(out, recorded{i, w.taps[k].clock(at), at})
		}
	}
	for i := 1; i < len(out); i++ { // by true time: a capture's order survives its clock
		for j := i; j > 0 && out[j].true < out[j-1].true; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// view builds what the flow table would say of tap k; nil where it saw
// nothing.
func (w *world) view(k int) *flows.Flow {
	frames := w.frames(k)
	if len(frames) == 0 {
		return nil
	}
	ends := w.ends
	if !ends[0].IsValid() {
		ends = [2]netip.AddrPort{clientEnd, serverEnd}
	}
	if t := &w.taps[k]; t.ends[0].IsValid() {
		ends = t.ends
	}
	key, _ := capture.MakeKey(ends[0], ends[1], 0)
	f := &flows.Flow{ID: flows.FlowID(k + 1), Key: key, First: frames[0].at, Last: frames[len(frames)-1].at, Frames: uint64(len(frames)), Midway: true}
	f.Sides[0].Addr, f.Sides[1].Addr = ends[0], ends[1]
	ordOf := map[int]tcp.Ordinal{}
	for n, r := range frames {
		ordOf[r.wire] = tcp.Ordinal(n + 1)
	}
	for n, r := range frames {
		e := w.event(k, n, r)
		if a := w.wires[r.wire].answers; a >= 0 {
			e.Answers = ordOf[a]
		}
		f.Events = append(f.Events, e)
		note(f, &e)
	}
	for i := range f.Events {
		e := &f.Events[i]
		if e.Answers != 0 {
			f.Events[e.Answers-1].AnsweredBy = e.Ord
		}
	}
	f.FirstOrd, f.LastOrd = 1, tcp.Ordinal(len(frames))
	return f
}

// event builds the event of frame n of tap k.
func (w *world) event(k, n int, r recorded) flows.Event {
	x := &w.wires[r.wire]
	hops := w.taps[k].ttl
	if x.from == flows.Server {
		hops = w.taps[len(w.taps)-1].ttl - hops
	}
	e := flows.Event{At: r.at, Ord: tcp.Ordinal(n + 1), From: x.from, Kind: x.kind, Flags: x.flags, TTL: 64 - hops,
		Seq: x.seq + tcp.Seq(w.taps[k].shift[x.from]), Len: x.length, Win: 500, IPID: x.ipid}
	if x.flags.Has(tcp.ACK) {
		e.Ack = x.ack + tcp.Seq(w.taps[k].shift[1-x.from])
	}
	if !w.noTS && x.ts != 0 {
		e.HasTS, e.TSVal, e.TSEcr = true, x.ts, x.ecr
	}
	return e
}

// note brings a view's sides up to date with one event.
func note(f *flows.Flow, e *flows.Event) {
	s, peer := &f.Sides[e.From], &f.Sides[1-e.From]
	if s.Segments == 0 {
		s.TTLs = [2]uint8{e.TTL, e.TTL}
	}
	s.Segments++
	s.TTL, s.LastSent = e.TTL, e.At
	if e.Flags.Has(tcp.SYN) {
		s.ISN, s.ISNKnown = e.Seq, true
		f.RolesKnown = true
		f.Midway = f.Midway && e.From == flows.Server
	}
	if end := endOf(e); !s.NxtKnown || end.After(s.SndNxt) {
		s.SndNxt, s.NxtKnown = end, true
	}
	if e.Flags.Has(tcp.ACK) && (peer.SndUna == 0 || e.Ack.After(peer.SndUna)) {
		peer.SndUna = e.Ack
	}
	if e.Kind == flows.Data || e.Kind == flows.Retransmission {
		s.Octets += uint64(e.Len)
	}
	f.Counts[e.Kind]++
}

// side builds the vantage point of tap k over several worlds that share it.
func sideOf(k int, worlds ...*world) *side {
	t := worlds[0].taps[k]
	s := &side{name: t.name}
	pairs := map[hostsKey]*flows.HostPair{}
	for _, w := range worlds {
		f := w.view(k)
		if f == nil {
			continue
		}
		s.flows = append(s.flows, f)
		s.cards = append(s.cards, flows.Glance{ID: f.ID, Key: f.Key, First: f.First, Last: f.Last})
		h := pairs[hostsOf(&f.Key)]
		if h == nil {
			h = &flows.HostPair{A: f.Key.LoEnd().Addr(), B: f.Key.HiEnd().Addr()}
			pairs[hostsOf(&f.Key)] = h
		}
		for i := range f.Events {
			saw(h, f, &f.Events[i])
		}
	}
	s.hosts = func(k *capture.Key) (flows.HostPair, bool) {
		if h := pairs[hostsOf(k)]; h != nil {
			return *h, true
		}
		return flows.HostPair{}, false
	}
	s.settle()
	return s
}

// saw adds one frame to what is known of two hosts.
func saw(h *flows.HostPair, f *flows.Flow, e *flows.Event) {
	d := int(e.From)
	if clientIsHi(f) {
		d = 1 - d
	}
	if h.Frames[d] == 0 || e.At < h.First[d] {
		h.First[d] = e.At
	}
	h.Last[d] = max(h.Last[d], e.At)
	h.Frames[d]++
}

// sides builds every tap of the worlds.
func sidesOf(worlds ...*world) (out []*side) {
	for k := range worlds[0].taps {
		out = append(out, sideOf(k, worlds...))
	}
	return out
}

// script writes a conversation step by step.
type script struct {
	w         *world
	now       time.Duration
	nxt       [2]tcp.Seq
	hop       func(from uint8, h int) time.Duration // delay before each tap
	cut       [2]int                                // where a side's packets are lost from now on; -1: they pass
	ipid      [2]uint16
	tsRate    time.Duration
	tsBase    [2]uint32
	lastTS    [2]uint32 // newest timestamp that arrived at each side
	lastProbe int
}

// talk starts a conversation over the taps.
func talk(taps []tap, hop func(from uint8, h int) time.Duration) *script {
	return &script{w: &world{taps: taps}, nxt: [2]tcp.Seq{1000, 9000}, hop: hop, cut: [2]int{-1, -1},
		ipid: [2]uint16{100, 7000}, tsRate: time.Millisecond, tsBase: [2]uint32{5000, 90000}, lastProbe: -1}
}

// steadyHop is a path of equal hops.
func steadyHop(d time.Duration) func(uint8, int) time.Duration {
	return func(uint8, int) time.Duration { return d }
}

// put sends one segment now and returns its index.
func (s *script) put(from uint8, kind flows.Kind, flags tcp.Flags, seq tcp.Seq, length uint32) int {
	x := wire{at: s.now, from: from, kind: kind, flags: flags, seq: seq, length: length, lostAt: s.cut[from], answers: -1}
	if flags.Has(tcp.ACK) {
		x.ack = s.nxt[1-from]
	}
	s.ipid[from]++
	x.ipid = s.ipid[from]
	x.ts, x.ecr = s.tsBase[from]+uint32(s.now/s.tsRate), s.lastTS[from]
	for h := range s.w.taps {
		x.delays = append(x.delays, s.hop(from, h))
	}
	if x.arrives() {
		s.lastTS[1-from] = x.ts
	}
	s.w.wires = append(s.w.wires, x)
	return len(s.w.wires) - 1
}

// flight returns how long wire i takes from end to end.
func (s *script) flight(i int) (d time.Duration) {
	for _, h := range s.w.wires[i].delays {
		d += h
	}
	return d + time.Microsecond
}

// wait lets time pass.
func (s *script) wait(d time.Duration) *script { s.now += d; return s }

// handshake opens the connection.
func (s *script) handshake() *script {
	i := s.put(flows.Client, flows.SYN, tcp.SYN, s.nxt[0], 0)
	s.nxt[0]++
	s.wait(s.flight(i))
	i = s.put(flows.Server, flows.SYNACK, tcp.SYN|tcp.ACK, s.nxt[1], 0)
	s.nxt[1]++
	s.wait(s.flight(i))
	i = s.put(flows.Client, flows.ACK, tcp.ACK, s.nxt[0], 0)
	return s.wait(s.flight(i))
}

// data sends octets until they arrive and are acknowledged; lose says at which
// tap the transmission number n is lost (−1: nowhere), and likewise the ACK.
func (s *script) data(from uint8, length uint32, lose func(n int, ack bool) int) *script {
	kind := flows.Data
	seq := s.nxt[from]
	for n := 0; ; n++ {
		s.cut[from] = lose(n, false)
		i := s.put(from, kind, tcp.ACK|tcp.PSH, seq, length)
		s.cut[from] = -1
		kind = flows.Retransmission
		arrived := s.w.wires[i].arrives()
		if arrived {
			s.nxt[from] = seq.Add(int(length))
			s.wait(s.flight(i))
			s.cut[1-from] = lose(n, true)
			j := s.put(1-from, flows.ACK, tcp.ACK, s.nxt[1-from], 0)
			s.cut[1-from] = -1
			s.wait(s.flight(j))
			if s.w.wires[j].arrives() {
				return s
			}
		}
		s.wait(300 * time.Millisecond)
	}
}

func never(int, bool) int { return -1 }

// probe sends a keepalive probe, answered where both ways are open.
func (s *script) probe(from uint8) *script {
	i := s.put(from, flows.KeepaliveProbe, tcp.ACK, s.nxt[from].Add(-1), 0)
	if !s.w.wires[i].arrives() {
		return s
	}
	start := s.now
	s.wait(s.flight(i))
	j := s.put(1-from, flows.KeepaliveACK, tcp.ACK, s.nxt[1-from], 0)
	s.w.wires[j].answers = i
	s.now = start
	return s
}

// giveUp sends the prober's reset.
func (s *script) giveUp(from uint8) *script {
	s.put(from, flows.RST, tcp.RST|tcp.ACK, s.nxt[from], 0)
	return s
}

// twoTaps is a client's and a server's capture, the server's clock being off.
func twoTaps(offset time.Duration) []tap {
	return []tap{{name: "client.pcap"}, {name: "server.pcap", offset: offset, ttl: 2}}
}

// silentDrop is the case that the tool was born from: a login, two hours of
// silence, probes of both ends that nobody gets.
func silentDrop(taps []tap) *script {
	s := talk(taps, steadyHop(10*time.Millisecond)).handshake()
	for range 5 {
		s.data(flows.Client, 40, never).data(flows.Server, 200, never).wait(time.Second)
	}
	s.wait(2 * time.Hour)
	s.cut = [2]int{1, 1}
	for range 9 {
		s.probe(flows.Client).wait(131 * time.Millisecond)
		s.probe(flows.Server).wait(75*time.Second - 131*time.Millisecond)
	}
	s.giveUp(flows.Client).wait(131 * time.Millisecond)
	return s.giveUp(flows.Server)
}

// fatesBetween returns the fates of one sender between two vantage points.
func fatesBetween(p *Pair, from uint8, x, y int) (out []Fate) {
	for _, f := range p.Fates {
		if f.From == from && f.Between == [2]int{x, y} {
			out = append(out, f)
		}
	}
	return out
}
