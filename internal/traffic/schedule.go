package traffic

import "iter"

// A segment is one TCP segment of the traffic, before it has octets.
type segment struct {
	flow  uint64
	at    int64 // ns after epoch; of a schedule: at the client's tap
	reply bool  // sent by the server
	kind  kind
	seq   uint32 // from the sender's ISN
	ack   uint32 // from the receiver's ISN
	sent  int64  // when its sender sent it: the sender's TSval
	echo  int64  // when the segment was sent whose TSval it echoes; see hasEcho
	turn  uint32 // number among the sender's segments of this flow: the IP ID
}

// hasEcho tells all segments from the first SYN, which has nothing to echo.
func (s *segment) hasEcho() bool { return s.kind != syn }

// kind is what a segment is made for.
type kind uint8

const (
	syn kind = iota
	synACK
	pureACK
	banner // "SSH-2.0-…"
	request
	response
	fullSize
	probe
	answer
	fin
	lastACK
	kindCount
)

// A schedule knows every segment by its number. In each direction times at the
// client's tap never fall from one number to the next.
type schedule interface {
	reply(step int) bool
	segment(step int) segment
}

// newSchedule returns the schedule for the shape of c.
func newSchedule(c *Config) schedule {
	b := beginning{flows: c.Flows, stages: beginStages[c.Begin], oneWay: int64(c.OneWay), gap: spaced(c, c.Flows)}
	switch c.Shape {
	case Bulk:
		return &bulk{b}
	case Churn:
		return newChurn(c)
	default:
		return newKeepalive(c, b)
	}
}

// spaced is the distance of two frames at the client, wide enough for a turn of
// n frames to take at least a round trip.
func spaced(c *Config, n int) int64 {
	return max(int64(c.Gap), (int64(c.RTT)+int64(n)-1)/int64(n))
}

// sighted yields the segments of c in the order and at the times at which its
// vantage point sees them.
func sighted(c *Config) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		plan := newSchedule(c)
		there := cursor{plan: plan, steps: c.Packets}
		back := cursor{plan: plan, steps: c.Packets, reply: true}
		if c.ServerSide {
			there.shift, back.shift = int64(c.OneWay), -int64(c.OneWay)
		}
		there.advance()
		back.advance()
		for there.more || back.more {
			next := &there
			if !there.more || back.more && back.seg.at < there.seg.at {
				next = &back
			}
			if !yield(next.seg) {
				return
			}
			next.advance()
		}
	}
}

// A cursor walks the segments of one direction.
type cursor struct {
	plan  schedule
	step  int
	steps int
	reply bool
	shift int64 // from the client's tap to the vantage point

	seg  segment
	more bool
}

func (c *cursor) advance() {
	for ; c.step < c.steps; c.step++ {
		if c.plan.reply(c.step) == c.reply {
			c.seg = c.plan.segment(c.step)
			c.seg.at += c.shift
			c.step++
			c.more = true
			return
		}
	}
	c.more = false
}

// beginning is how all flows start together: each turn shows the next stage of
// every flow.
type beginning struct {
	flows, stages int
	gap, oneWay   int64
}

// A stage is one step of a conversation that every flow has in the same form.
type stage struct {
	kind     kind
	reply    bool
	seq, ack uint32
	echoes   int    // stage whose TSval it echoes
	turn     uint32 // number among its sender's segments
}

const (
	bannerLen   = uint32(len(bannerText))
	requestLen  = uint32(len(requestText))
	responseLen = uint32(len(responseText))
)

var opening = [...]stage{
	{kind: syn},
	{kind: synACK, reply: true, ack: 1},
	{kind: pureACK, seq: 1, ack: 1, echoes: 1, turn: 1},
	{kind: banner, reply: true, seq: 1, ack: 1, echoes: 2, turn: 1},
	{kind: pureACK, seq: 1, ack: 1 + bannerLen, echoes: 3, turn: 2},
	{kind: banner, seq: 1, ack: 1 + bannerLen, echoes: 3, turn: 3},
	{kind: pureACK, reply: true, seq: 1 + bannerLen, ack: 1 + bannerLen, echoes: 5, turn: 2},
}

var beginStages = [...]int{MidStream: 0, Handshake: 3, HandshakeData: len(opening)}

// openingSegments is a bound for the segments that one side sends in the
// opening, so that later ones can be numbered after them.
const openingSegments = 4

func (b *beginning) steps() int { return b.flows * b.stages }

// end is when the turn after the beginning starts.
func (b *beginning) end() int64 { return int64(b.steps()) * b.gap }

func (b *beginning) replies(step int) bool { return opening[step/b.flows].reply }

func (b *beginning) segment(step int) segment {
	n, flow := step/b.flows, step%b.flows
	return opening[n].segment(uint64(flow), int64(step)*b.gap, int64(step+(opening[n].echoes-n)*b.flows)*b.gap, b.oneWay, opening[:])
}

// last is when one side last sent something on a flow in the beginning, or a
// round before the first turn where the capture starts in the middle.
func (b *beginning) last(reply bool, flow int, round int64) int64 {
	for n := b.stages - 1; n >= 0; n-- {
		if opening[n].reply == reply {
			return sentAt(reply, int64(n*b.flows+flow)*b.gap, b.oneWay)
		}
	}
	return sentAt(reply, int64(flow)*b.gap-round, b.oneWay)
}

// sentAt is when a side sent what the client's tap saw at a moment.
func sentAt(reply bool, at, oneWay int64) int64 {
	if reply {
		return at - oneWay
	}
	return at
}

// next is the position that both sides have reached after the beginning. Where
// the capture starts in the middle any will do.
func (b *beginning) next() uint32 {
	if b.stages == len(opening) {
		return 1 + bannerLen
	}
	return 1
}

// segment makes a stage the segment of a flow, seen at the client at a moment
// and echoing the TSval of a stage that was seen at another.
func (s *stage) segment(flow uint64, at, echoSeen, oneWay int64, all []stage) segment {
	return segment{
		flow: flow, at: at, reply: s.reply, kind: s.kind, seq: s.seq, ack: s.ack, turn: s.turn,
		sent: sentAt(s.reply, at, oneWay), echo: sentAt(all[s.echoes].reply, echoSeen, oneWay),
	}
}

// keepalive probes every flow once a round.
type keepalive struct {
	beginning
	start   int64 // of the first round
	spacing int64 // from one flow's probe to the next one's
	pause   int64 // between the first round and the second, when those are scattered
	rtt     int64
	stride  int // how later rounds step through the flows; 1 is the order of the first
}

func newKeepalive(c *Config, b beginning) *keepalive {
	k := &keepalive{beginning: b, spacing: int64(c.Interval) / int64(c.Flows), rtt: int64(c.RTT), stride: 1}
	if b.stages > 0 {
		k.start = b.end() + int64(c.Interval)
	}
	if c.Scatter {
		k.stride = coprime(c.Flows)
		k.pause = int64(c.Interval)
	}
	return k
}

func (k *keepalive) reply(step int) bool {
	if step < k.steps() {
		return k.beginning.replies(step)
	}
	return (step-k.steps())&1 != 0
}

func (k *keepalive) segment(step int) segment {
	if step < k.steps() {
		return k.beginning.segment(step)
	}
	n := (step - k.steps()) / 2
	round, place := n/k.flows, n%k.flows
	flow := place
	if round > 0 {
		flow = int(uint64(place) * uint64(k.stride) % uint64(k.flows))
	}
	at := k.probeAt(round, place)
	seg := segment{flow: uint64(flow), turn: openingSegments + uint32(round)}
	if k.reply(step) {
		seg.reply, seg.kind = true, answer
		seg.at, seg.sent, seg.echo = at+k.rtt, at+k.rtt-k.oneWay, at
		seg.seq, seg.ack = k.next(), k.next()
		return seg
	}
	seg.kind, seg.at, seg.sent = probe, at, at
	seg.seq, seg.ack = k.next()-1, k.next()
	seg.echo = k.lastAnswer(round, place, flow)
	return seg
}

// probeAt is when the probe at a place of a round leaves.
func (k *keepalive) probeAt(round, place int) int64 {
	at := k.start + (int64(round)*int64(k.flows)+int64(place))*k.spacing
	if round > 0 {
		at += k.pause
	}
	return at
}

// lastAnswer is when the server sent what the flow last had from it before the
// probe at a place of a round.
func (k *keepalive) lastAnswer(round, place, flow int) int64 {
	switch round {
	case 0:
		return k.last(true, flow, int64(k.flows)*k.spacing)
	case 1:
		place = flow // the first round goes through the flows in order
	}
	return k.probeAt(round-1, place) + k.rtt - k.oneWay
}

// coprime returns a stride near the golden section of n that visits every one
// of n places.
func coprime(n int) int {
	for s := max(n*618/1000, 1); ; s++ {
		if gcd(s, n) == 1 {
			return s
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// bulk sends two full segments and one acknowledgment on each flow in turn.
type bulk struct{ beginning }

func (b *bulk) reply(step int) bool {
	if step < b.steps() {
		return b.beginning.replies(step)
	}
	return (step-b.steps())%3 != 2
}

func (b *bulk) segment(step int) segment {
	if step < b.steps() {
		return b.beginning.segment(step)
	}
	n := step - b.steps()
	round, flow, part := n/3/b.flows, n/3%b.flows, n%3
	at := int64(step) * b.gap
	before := b.next() + uint32(round)*2*fullSizeLen // server's position at the start of the round
	if part == 2 {
		return segment{flow: uint64(flow), at: at, kind: pureACK, seq: b.next(), ack: before + 2*fullSizeLen,
			sent: at, echo: at - b.gap - b.oneWay, turn: openingSegments + uint32(round)}
	}
	echo := int64(step-part+2-3*b.flows) * b.gap // the ACK of the round before
	if round == 0 {
		echo = b.last(false, flow, int64(3*b.flows)*b.gap)
	}
	return segment{flow: uint64(flow), at: at, reply: true, kind: fullSize, seq: before + uint32(part)*fullSizeLen, ack: b.next(),
		sent: at - b.oneWay, echo: echo, turn: openingSegments + 2*uint32(round) + uint32(part)}
}

// connection is a whole short connection of Churn.
var connection = [...]stage{
	{kind: syn},
	{kind: synACK, reply: true, ack: 1},
	{kind: pureACK, seq: 1, ack: 1, echoes: 1, turn: 1},
	{kind: request, seq: 1, ack: 1, echoes: 1, turn: 2},
	{kind: pureACK, reply: true, seq: 1, ack: 1 + requestLen, echoes: 3, turn: 1},
	{kind: response, reply: true, seq: 1, ack: 1 + requestLen, echoes: 3, turn: 2},
	{kind: pureACK, seq: 1 + requestLen, ack: 1 + responseLen, echoes: 5, turn: 3},
	{kind: fin, seq: 1 + requestLen, ack: 1 + responseLen, echoes: 5, turn: 4},
	{kind: fin, reply: true, seq: 1 + responseLen, ack: 2 + requestLen, echoes: 7, turn: 3},
	{kind: lastACK, seq: 2 + requestLen, ack: 2 + responseLen, echoes: 8, turn: 5},
}

const churnSegments = len(connection)

// churn begins a group of connections each turn; a turn shows one segment of
// every open connection, so each stage of a group is one turn later.
type churn struct {
	group       int // connections begun each turn: a tenth of those open at once
	gap, oneWay int64
	before      [churnSegments]int // steps before each of the first turns, while groups fill up
}

func newChurn(c *Config) *churn {
	ch := &churn{group: c.Flows / churnSegments, gap: spaced(c, c.Flows/churnSegments), oneWay: int64(c.OneWay)}
	for turn := 1; turn < churnSegments; turn++ {
		ch.before[turn] = ch.before[turn-1] + turn*ch.group
	}
	return ch
}

// locate says which stage of which connection a step shows, and in which turn.
func (c *churn) locate(step int) (flow, stage, turn int) {
	last := churnSegments - 1
	open := churnSegments
	if step >= c.before[last] {
		n := step - c.before[last]
		turn, step = last+n/(c.group*churnSegments), n%(c.group*churnSegments)
	} else {
		for turn = 0; c.before[turn+1] <= step; turn++ {
		}
		step, open = step-c.before[turn], turn+1
	}
	stage = step % open
	return (turn-stage)*c.group + step/open, stage, turn
}

func (c *churn) reply(step int) bool {
	_, stage, _ := c.locate(step)
	return connection[stage].reply
}

func (c *churn) segment(step int) segment {
	flow, n, turn := c.locate(step)
	s := &connection[n]
	at := int64(step) * c.gap
	echoed := at
	if s.echoes != n {
		echoed = int64(c.step(flow, s.echoes, turn-n+s.echoes)) * c.gap
	}
	return s.segment(uint64(flow), at, echoed, c.oneWay, connection[:])
}

// step is the inverse of locate.
func (c *churn) step(flow, stage, turn int) int {
	last := churnSegments - 1
	member := flow % c.group
	if turn < last {
		return c.before[turn] + member*(turn+1) + stage
	}
	return c.before[last] + (turn-last)*c.group*churnSegments + member*churnSegments + stage
}
