package pairing

import (
	stdcmp "cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"kaflow/flows"
	"kaflow/tcp"
)

// drawTaps draws two to four vantage points with clocks of any kind.
func drawTaps(t *rapid.T, count int) []tap {
	var taps []tap
	for k := range count {
		taps = append(taps, tap{
			name:   fmt.Sprintf("tap%d.pcap", k),
			offset: time.Duration(rapid.Int64Range(int64(-3*time.Hour), int64(3*time.Hour)).Draw(t, "offset")),
			ppm:    float64(rapid.IntRange(-240, 240).Draw(t, "ppm")),
			tick:   rapid.SampledFrom([]tcp.Instant{1, 1000}).Draw(t, "tick"),
			ttl:    uint8(k),
		})
	}
	return taps
}

// drawBoxes draws what boxes between the taps do to addresses and numbers.
func drawBoxes(t *rapid.T, taps []tap) {
	ends, shift := [2]netip.AddrPort{clientEnd, serverEnd}, [2]uint32{}
	for k := 1; k < len(taps); k++ {
		switch rapid.IntRange(0, 4).Draw(t, "box") {
		case 0:
			ends[0] = netip.AddrPortFrom(publicEnd.Addr(), uint16(61000+k))
		case 1:
			ends[1] = hiddenEnd
		case 2:
			shift = [2]uint32{drawShift(t, "client's shift", k, 0), drawShift(t, "server's shift", k, 1)}
		}
		taps[k].ends, taps[k].shift = ends, shift
	}
}

// drawShift draws by how much a box shifts the numbers of an end: 32 bits that come
// near no other ones, as those that draws like best, the small ones, would.
func drawShift(t *rapid.T, label string, box, end int) uint32 {
	n := uint64(rapid.Uint32().Draw(t, label))<<8 | uint64(box<<1|end)
	return uint32((n + 1) * 0x9e3779b97f4a7c15 >> 32)
}

// drawTalk draws a conversation: data both ways, some of it lost and sent
// again, silences, answered probes, and perhaps a death.
func drawTalk(t *rapid.T, taps []tap) *world {
	base := time.Duration(rapid.IntRange(50, 20_000).Draw(t, "hop µs")) * time.Microsecond
	jitter := rapid.IntRange(0, 3000)
	s := talk(taps, func(uint8, int) time.Duration {
		return base + time.Duration(jitter.Draw(t, "jitter µs"))*time.Microsecond
	})
	const near = 1 << 24 // hosts do not draw numbers that come so near to each other
	client := rapid.Uint32().Draw(t, "client's ISN")
	server := rapid.Uint32().Filter(func(isn uint32) bool { return isn-client+near > 2*near }).Draw(t, "server's ISN")
	s.nxt = [2]tcp.Seq{tcp.Seq(client), tcp.Seq(server)}
	s.w.noTS = rapid.Bool().Draw(t, "no timestamps")
	s.handshake()
	lose := func(n int, ack bool) int {
		if n > 2 || rapid.IntRange(0, 4).Draw(t, "lose") > 0 {
			return -1
		}
		return rapid.IntRange(0, len(taps)-1).Draw(t, "lost at")
	}
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		from := uint8(rapid.IntRange(0, 1).Draw(t, "from"))
		switch rapid.IntRange(0, 2).Draw(t, "step") {
		case 0:
			s.data(from, uint32(rapid.IntRange(1, 1400).Draw(t, "octets")), lose)
		case 1:
			s.wait(time.Duration(rapid.IntRange(1, 3600).Draw(t, "silence")) * time.Second)
		case 2:
			s.probe(from).wait(time.Duration(rapid.IntRange(1, 75).Draw(t, "interval")) * time.Second)
		}
	}
	if rapid.Bool().Draw(t, "dies") {
		s.cut = [2]int{1, 1}
		for range 4 {
			s.probe(flows.Client).wait(time.Second)
			s.probe(flows.Server).wait(time.Minute)
		}
		s.giveUp(flows.Client)
	}
	return s.w
}

// offsetAt returns the first tap's clock at a true time and how far the second
// is ahead of it then, before either is cut to its tick.
func offsetAt(a, b tap, at time.Duration) (tcp.Instant, time.Duration) {
	a.tick, b.tick = 1, 1
	t := a.clock(at)
	return t, b.clock(at).Sub(t)
}

func TestTrueOffsetLiesWithinTheBounds(t *testing.T) {
	both := 0
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, 2)
		w := drawTalk(t, taps)
		r := matchSides(sidesOf(w), Options{})
		if len(r.Clocks) != 1 {
			t.Fatalf("%d clocks for clocks that never step: %+v", len(r.Clocks), r.Clocks)
		}
		c := &r.Clocks[0]
		if !c.NoMin && !c.NoMax {
			both++
		}
		end := w.wires[len(w.wires)-1].at
		for _, at := range []time.Duration{0, end / 3, end / 2, end, end + 2*time.Hour} {
			x, want := offsetAt(taps[0], taps[1], at)
			least, greatest := c.Bounds(x)
			const rounding = 2 * time.Nanosecond // of the simulated clocks
			if want < least-rounding || want > greatest+rounding {
				t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, least, greatest)
			}
		}
		skew := ((1+taps[1].ppm*1e-6)/(1+taps[0].ppm*1e-6) - 1) * 1e6
		if skew < c.PPMMin-1e-3 || skew > c.PPMMax+1e-3 {
			t.Errorf("skew %v ppm, bounds [%v, %v]", skew, c.PPMMin, c.PPMMax)
		}
	})
	if both < 50 {
		t.Errorf("%d clocks are bounded from both sides: too few to tell", both)
	}
}

func TestNothingIsShownAsArrivingBeforeItWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, 2)
		r := matchSides(sidesOf(drawTalk(t, taps)), Options{})
		for _, p := range r.Pairs {
			for _, f := range p.Fates {
				if f.How != Crossed || f.Seen.Ord == 0 {
					continue
				}
				arrived, _ := r.Map(f.Seen.Vantage, f.Sent.Vantage, f.Seen.At)
				if early := f.Sent.At.Sub(arrived); early > 2*time.Microsecond {
					t.Errorf("%+v arrives %v before it was sent", f, early)
				}
			}
		}
	})
}

func TestStepStaysWithinTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, 2)
		k := rapid.IntRange(0, 1).Draw(t, "which steps")
		taps[k].step = time.Duration(rapid.IntRange(1, 100).Draw(t, "step")) * time.Second
		if rapid.Bool().Draw(t, "back") {
			taps[k].step = -taps[k].step
		}
		s := talk(taps, steadyHop(5*time.Millisecond)).handshake()
		for range 8 {
			s.data(flows.Client, 10, never).data(flows.Server, 10, never).wait(time.Second)
		}
		taps[k].stepAt = s.now
		for range 8 {
			s.wait(time.Second).data(flows.Client, 10, never).data(flows.Server, 10, never)
		}
		r := matchSides(sidesOf(s.w), Options{})
		if len(r.Clocks) != 2 {
			t.Fatalf("a step of %v gave %d pieces: %+v", taps[k].step, len(r.Clocks), r.Clocks)
		}
		for at := time.Duration(0); at < s.now; at += s.now / 20 {
			x, want := offsetAt(taps[0], taps[1], at)
			from, to, known := r.Window(0, 1, x)
			if !known || x.Add(want) < from.Add(-2) || x.Add(want) > to.Add(2) {
				t.Errorf("after %v the offset is %v, the bounds [%v, %v]", at, want, from.Sub(x), to.Sub(x))
			}
		}
	})
}

// evident reports whether the frames that are left of a pair prove that wire i
// arrived: its octets were acknowledged afterwards, or its answer is in the
// prober's capture. Of a copy of what had arrived before, later acknowledgments tell
// nothing; the one that it is answered with does, at either of the two points.
func evident(w *world, p *Pair, i int, between [2]int) bool {
	x := &w.wires[i]
	if !x.arrives() {
		return false
	}
	again := slices.ContainsFunc(w.wires[:i], func(y wire) bool { return y.from == x.from && y.length > 0 && y.seq == x.seq && y.arrives() })
	for _, seen := range p.Seen {
		k := seen.Vantage
		for _, r := range w.frames(k) {
			y := &w.wires[r.wire]
			if y.from == x.from || y.at < x.at {
				continue
			}
			if again && (y.length > 0 || y.at-x.at > time.Second || k != between[0] && k != between[1]) {
				continue
			}
			seg := tcp.Segment{Seq: x.seq, Len: x.length, Flags: x.flags}
			if end := seg.End(); end != x.seq && y.flags.Has(tcp.ACK) && !end.After(y.ack) {
				return true
			}
			if y.answers == i && k == between[0] {
				return true
			}
		}
	}
	return false
}

func TestRemovedFramesNeverMakeAFalseLoss(t *testing.T) {
	lost, spared, crossed := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, rapid.IntRange(2, 3).Draw(t, "taps"))
		drawBoxes(t, taps)
		w := drawTalk(t, taps)
		gone := map[[2]int]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "removals") {
			gone[[2]int{rapid.IntRange(0, len(taps)-1).Draw(t, "tap"), rapid.IntRange(0, len(w.wires)-1).Draw(t, "frame")}] = true
		}
		var frames [][]recorded
		for k := range w.taps {
			w.taps[k].drop = func(i int) bool { return gone[[2]int{k, i}] }
			frames = append(frames, w.frames(k))
		}
		r := matchSides(sidesOf(w), Options{})
		for _, p := range r.Pairs {
			for _, f := range p.Fates {
				x, y := f.Between[0], f.Between[1]
				i := frames[x][f.Sent.Ord-1].wire
				_, passed := w.passes(i, y)
				switch {
				case f.How == Lost:
					lost++
				case f.How == Crossed && f.Seen.Ord != 0:
					crossed++
				case passed && gone[[2]int{y, i}] && evident(w, p, i, f.Between):
					spared++
				}
				if f.How == Lost && passed && evident(w, p, i, f.Between) {
					t.Errorf("wire %d %+v passed tap %d and was acknowledged, yet: %+v", i, w.wires[i], y, f)
				}
				if f.How == Crossed && f.Seen.Ord != 0 && frames[y][f.Seen.Ord-1].wire != i {
					t.Errorf("wire %d paired with wire %d: %+v", i, frames[y][f.Seen.Ord-1].wire, f)
				}
			}
		}
	})
	if lost < 20 || spared < 20 || crossed < 200 {
		t.Errorf("%d segments lost, %d removed ones that an acknowledgment spares, %d crossed: too few to tell", lost, spared, crossed)
	}
}

// turned returns what Match would have said with the points in another order:
// order[new] = old.
func turned(r *Result, order []int) *Result {
	at := make([]int, len(order))
	for n, old := range order {
		at[old] = n
	}
	out := &Result{ClosedPaired: r.ClosedPaired, ClosedSingle: r.ClosedSingle}
	for _, ij := range r.Same {
		out.Same = append(out.Same, [2]int{min(at[ij[0]], at[ij[1]]), max(at[ij[0]], at[ij[1]])})
	}
	for _, p := range r.Pairs {
		q := *p
		q.Path, q.Misses = nil, nil
		for _, old := range order[:len(p.Misses)] {
			q.Misses = append(q.Misses, p.Misses[old])
		}
		for _, v := range p.Path {
			q.Path = append(q.Path, at[v])
		}
		q.Seen = slices.Clone(p.Seen)
		for i := range q.Seen {
			q.Seen[i].Vantage = at[q.Seen[i].Vantage]
		}
		q.Fates = slices.Clone(p.Fates)
		for i := range q.Fates {
			f := &q.Fates[i]
			f.Between = [2]int{at[f.Between[0]], at[f.Between[1]]}
			f.Sent.Vantage = at[f.Sent.Vantage]
			if f.How == Crossed {
				f.Seen.Vantage = at[f.Seen.Vantage]
			}
		}
		out.Pairs = append(out.Pairs, &q)
	}
	return out
}

// anyOrder compares lists of fates by what they hold. They are sorted by time on one
// point's clock, of which a comparison of two clocks the other way round may be some
// nanoseconds off: two packets that are no farther apart change places.
var anyOrder = cmpopts.SortSlices(func(a, b Fate) bool {
	return stdcmp.Or(slices.Compare(a.Between[:], b.Between[:]), stdcmp.Compare(a.Sent.Ord, b.Sent.Ord)) < 0
})

func TestOrderOfThePointsDoesNotMatter(t *testing.T) {
	moved, joined := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, rapid.IntRange(2, 4).Draw(t, "taps"))
		drawBoxes(t, taps)
		w := drawTalk(t, taps)
		straight := matchSides(sidesOf(w), Options{})
		order := rapid.Permutation([]int{0, 1, 2, 3}[:len(taps)]).Draw(t, "order")
		given := sidesOf(w)
		var sides []*side
		for _, old := range order {
			sides = append(sides, given[old])
		}
		got := matchSides(sides, Options{})
		got.Notes, straight.Notes = nil, nil
		want := turned(straight, order)
		want.Clocks, got.Clocks = nil, nil
		slices.SortFunc(want.Same, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
		if d := cmp.Diff(want.Pairs, got.Pairs, anyOrder, cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{})); d != "" {
			t.Errorf("with the points as %v (-want +got):\n%s", order, d)
		}
		if !slices.IsSorted(order) {
			moved++
		}
		for _, p := range got.Pairs {
			joined += len(p.Seen) - 1
		}
		if d := cmp.Diff(want.Same, got.Same); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
	if moved < 20 || joined < 50 {
		t.Errorf("%d orders were others, %d sightings joined: too few to tell", moved, joined)
	}
}

// mirrored returns the same conversation as it would be had server and client
// changed places: each wire is the other's, and the path is walked backwards.
func (w *world) mirrored() *world {
	m := &world{ends: [2]netip.AddrPort{serverEnd, clientEnd}, noTS: w.noTS}
	last := len(w.taps) - 1
	for k := range w.taps {
		x := w.taps[last-k]
		x.ttl = w.taps[last].ttl - x.ttl
		x.shift[0], x.shift[1] = x.shift[1], x.shift[0]
		if x.ends[0].IsValid() {
			x.ends[0], x.ends[1] = x.ends[1], x.ends[0]
		}
		m.taps = append(m.taps, x)
	}
	for _, x := range w.wires {
		x.from = 1 - x.from
		m.wires = append(m.wires, x)
	}
	return m
}

// wireFate is what became of one wire on one step of its way.
type wireFate struct {
	wire, x, y int
	how        How
}

// wireFates lists the fates of a result by wire; taps are counted backwards
// where the world was mirrored.
func wireFates(w *world, r *Result, backwards bool) (all []wireFate) {
	for _, p := range r.Pairs {
		for _, f := range p.Fates {
			x, y := f.Between[0], f.Between[1]
			i := w.frames(x)[f.Sent.Ord-1].wire
			if last := len(w.taps) - 1; backwards {
				x, y = last-x, last-y
			}
			all = append(all, wireFate{i, x, y, f.How})
		}
	}
	slices.SortFunc(all, func(a, b wireFate) int {
		return stdcmp.Or(stdcmp.Compare(a.wire, b.wire), stdcmp.Compare(a.x, b.x), stdcmp.Compare(a.y, b.y))
	})
	return all
}

func TestMirroredCapturesGiveMirroredFates(t *testing.T) {
	fates := 0
	rapid.Check(t, func(t *rapid.T) {
		taps := drawTaps(t, rapid.IntRange(2, 3).Draw(t, "taps"))
		drawBoxes(t, taps)
		w := drawTalk(t, taps)
		m := w.mirrored()
		straight, back := matchSides(sidesOf(w), Options{}), matchSides(sidesOf(m), Options{})
		if d := cmp.Diff(wireFates(w, straight, false), wireFates(m, back, true), cmp.AllowUnexported(wireFate{})); d != "" {
			t.Errorf("(-straight +mirrored):\n%s", d)
		}
		fates += len(wireFates(w, straight, false))
	})
	if fates < 500 {
		t.Errorf("%d fates in all: too few to tell", fates)
	}
}
