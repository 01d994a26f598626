//go:build unix

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kaflow/internal/dialogue"
	"kaflow/internal/lab"
	"kaflow/monitor"
	"kaflow/monitor/correlate"
	"kaflow/pairing"
)

// play is one way in which time can go at two ends and between them.
type play struct {
	name   string
	shift  [2]time.Duration // of the clocks, beside what they are off in the captures
	late   [2]float64       // share of the whole after which a watch begins
	sleeps float64          // how often a host is not scheduled, per wait of its watch
	stalls time.Duration    // the longest time for which a pipe stands still
	broken [2]float64       // share of the whole after which a stream breaks off; 0: it does not
	over   [2]float64       // and after which a watch ends
	busy   time.Duration    // between segments of a connection that is never quiet; 0: there is none
	flood  int              // connections that are tried at the server at once
	goesOn time.Duration    // both watches, after the last frame
}

// whole reports whether both streams hold all that the captures hold.
func (p *play) whole() bool {
	return p.broken == [2]float64{} && p.over == [2]float64{} && p.late == [2]float64{} && p.flood == 0
}

// leavesOut reports whether the connection beside is too busy to be carried whole.
func (p *play) leavesOut() bool {
	return p.busy > 0 && 2*(10*time.Second/p.busy) > monitor.MostCarried
}

// simulated is a stored set as it is played.
type simulated struct {
	name string
	play *play
	seed uint64
	ends [2]*end
	rng  *rand.Rand

	paths [2]string // the whole captures
	first time.Time
	last  time.Time
	heard []heard
	lines []arrival
}

// heard is what the correlator told, and when.
type heard struct {
	at    time.Time
	final bool
	correlate.Told
}

// of reports whether a death or a verdict is on what one end calls a connection so.
func (h *heard) of(stream int, name string) bool {
	if h.Report == nil { // its segments are left out, or still to come
		return h.What == monitor.Died && pairName(h.Client, h.Server) == name
	}
	return slices.ContainsFunc(h.Report.Flows[0].Pair.Seen, func(s pairing.Sighting) bool {
		return s.Vantage == stream && pairName(s.Flow.Sides[0].Addr.String(), s.Flow.Sides[1].Addr.String()) == name
	})
}

// answer is what was told; nothing where no verdict was.
func (h *heard) answer() answer {
	if h.Verdict == nil {
		return answer{}
	}
	return answer{h.Verdict.ID, string(h.Verdict.Confidence)}
}

// endNames are those of the two streams.
var endNames = [2]string{"client", "server"}

// simulate plays a stored set.
func simulate(t *testing.T, set *lab.Run, p *play, seed uint64) *simulated {
	t.Helper()
	x := &simulated{name: filepath.Base(set.Dir), play: p, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(len(set.Dir))))}
	for i, at := range []string{lab.AtClient, lab.AtServer} {
		e := &end{ahead: time.Duration(1e9*set.Truth.Clocks[at]) + p.shift[i]}
		var err error
		if e.frames, err = lab.ReadPcap(set.Captures[at]); err != nil {
			t.Fatal(err)
		}
		e.frames = lab.Reclocked(e.frames, p.shift[i], 0, time.Time{}, 0)
		x.ends[i] = e
	}
	x.measure()
	x.addOthers(t)
	dir := t.TempDir()
	for i, e := range x.ends {
		x.paths[i] = filepath.Join(dir, endNames[i]+".pcap")
		if err := lab.WritePcap(x.paths[i], e.frames, 65535); err != nil {
			t.Fatal(err)
		}
		var err error
		if e.frames, err = lab.ReadPcap(x.paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	var moments []time.Time
	for _, e := range x.ends {
		for _, f := range e.frames {
			moments = append(moments, f.At.Add(-e.ahead))
		}
	}
	slices.SortFunc(moments, time.Time.Compare)
	busy := func(at time.Time) bool {
		i, _ := slices.BinarySearchFunc(moments, at.Add(-calm), time.Time.Compare)
		return i < len(moments) && moments[i].Before(at.Add(calm))
	}
	for i, e := range x.ends {
		begin := x.first.Add(-time.Duration(x.rng.Int64N(int64(time.Second)))).Add(x.share(p.late[i]))
		k := &clock{rng: x.rng, sleeps: p.sleeps}
		stop := x.last.Add(p.goesOn)
		if p.over[i] > 0 {
			stop = x.first.Add(x.share(p.over[i]))
		}
		e.watch(t, endNames[i], k, begin, stop, busy)
	}
	x.correlate(t)
	return x
}

// share is how long a share of the whole is, or some more or less.
func (x *simulated) share(s float64) time.Duration {
	return time.Duration(s * (0.7 + 0.4*x.rng.Float64()) * float64(x.last.Sub(x.first)))
}

// measure finds when the captures begin and end, in true time.
func (x *simulated) measure() {
	for _, e := range x.ends {
		first, last := e.frames[0].At.Add(-e.ahead), e.frames[len(e.frames)-1].At.Add(-e.ahead)
		if x.first.IsZero() || first.Before(x.first) {
			x.first = first
		}
		if last.After(x.last) {
			x.last = last
		}
	}
}

// addOthers adds a connection that is never quiet, and a flood.
func (x *simulated) addOthers(t *testing.T) {
	t.Helper()
	if x.play.busy > 0 {
		var text strings.Builder
		fmt.Fprintf(&text, "C 10.1.1.1:33333\nS 10.2.2.2:9000\ndelay C 9ms\ndelay S 9ms\nstart %s\n", x.first.Format(time.RFC3339Nano))
		text.WriteString("0 C > S SYN seq 99\n+20ms S > C SYN,ACK seq 899 ack 100\n+20ms C > S ACK seq 100 ack 900\n")
		seq := 100
		for at := time.Duration(0); at < min(x.last.Sub(x.first), time.Minute)+x.play.goesOn; at += x.play.busy {
			fmt.Fprintf(&text, "+%v C > S PSH,ACK seq %d ack 900 len 10\n+20ms S > C ACK seq 900 ack %d\n", max(x.play.busy-20*time.Millisecond, time.Millisecond), seq, seq+10)
			seq += 10
		}
		x.add(t, text.String())
	}
	if x.play.goesOn > time.Second { // so that the captures, too, show that they go on
		x.add(t, fmt.Sprintf("C 10.4.4.4:1\nS 10.4.4.5:1\nstart %s\n0 C > S PING 1 @client\n0 C > S PING 1 @server\n", x.last.Add(x.play.goesOn-200*time.Millisecond).Format(time.RFC3339Nano)))
	}
	if x.play.flood > 0 {
		var text strings.Builder
		fmt.Fprintf(&text, "C 10.3.3.3:1\nS 10.2.2.2:80\nstart %s\n", x.first.Add(x.share(x.rng.Float64())).Format(time.RFC3339Nano))
		for n := range x.play.flood {
			fmt.Fprintf(&text, "F%d 10.3.3.%d:%d\n+50us F%d > S SYN seq %d\n", n, n&7, 1024+n, n, 1000*n)
		}
		x.add(t, text.String())
	}
}

// add puts the frames of a conversation between the others.
func (x *simulated) add(t *testing.T, text string) {
	t.Helper()
	s, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range x.ends {
		frames, err := s.Packets(endNames[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			e.frames = append(e.frames, lab.Frame{At: f.At.Time().Add(e.ahead).UTC(), Data: f.Data, Orig: f.Wire})
		}
		slices.SortStableFunc(e.frames, func(a, b lab.Frame) int { return a.At.Compare(b.At) })
	}
}

// arrival is a line as its reader gets it.
type arrival struct {
	at     time.Time
	stream int
	text   []byte // nil: the stream ends
}

// deliver returns the lines of both streams as they arrive: late, and not at all
// while a pipe stands still.
func (x *simulated) deliver() (out []arrival) {
	for i, e := range x.ends {
		var last, still time.Time
		stop := time.Time{}
		if b := x.play.broken[i]; b > 0 {
			stop = x.first.Add(x.share(b))
		}
		for _, l := range e.lines {
			if !stop.IsZero() && l.at.After(stop) {
				break
			}
			at := l.at.Add(time.Duration(x.rng.Int64N(int64(300 * time.Millisecond))))
			if x.play.stalls > 0 && l.at.After(still) && x.rng.IntN(20) == 0 {
				still = at.Add(time.Duration(x.rng.Int64N(int64(x.play.stalls))))
			}
			for _, not := range []time.Time{last, still} {
				if at.Before(not) {
					at = not
				}
			}
			last = at
			out = append(out, arrival{at, i, l.text})
		}
		out = append(out, arrival{last.Add(time.Millisecond), i, nil})
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return a.at.Compare(b.at) })
	return out
}

// correlate reads the two streams as kaflow correlate does, and checks that what
// it owes is told in time.
func (x *simulated) correlate(t *testing.T) {
	t.Helper()
	var now time.Time
	final := false
	c := correlate.New(endNames[:], correlate.Options{Roles: map[int]uint8{0: 0, 1: 1}, Tell: func(d correlate.Told) {
		x.heard = append(x.heard, heard{now, final, d})
	}})
	lines := x.deliver()
	x.lines = lines
	const every = 200 * time.Millisecond
	look := lines[0].at
	left := len(x.ends)
	for _, l := range lines {
		for !look.After(l.at) {
			now = look
			c.Look(now)
			look = look.Add(every)
		}
		now = l.at
		if l.text == nil {
			c.End(l.stream)
			left--
			c.Look(now)
			continue
		}
		if err := c.Take(l.stream, l.text, now); err != nil {
			t.Fatal(err)
		}
	}
	final = true
	c.Finish()
}

// pairName names a connection by its ends, in no order.
func pairName(a, b string) string {
	if cmp.Compare(a, b) > 0 {
		a, b = b, a
	}
	return a + " " + b
}

// plays are the ways in which time goes.
var plays = []play{
	{name: "evenly", goesOn: 40 * time.Second},
	{name: "hosts that are not scheduled", sleeps: 0.05, goesOn: 40 * time.Second},
	{name: "pipes that stand still", stalls: 20 * time.Second, goesOn: 40 * time.Second},
	{name: "a connection that is never quiet", busy: 400 * time.Millisecond, goesOn: 40 * time.Second},
	{name: "a connection that is busy", busy: 40 * time.Millisecond, goesOn: 40 * time.Second},
	{name: "all of that", sleeps: 0.05, stalls: 20 * time.Second, busy: 300 * time.Millisecond, goesOn: 40 * time.Second},
	{name: "the server's clock an hour behind", shift: [2]time.Duration{0, -time.Hour}, sleeps: 0.02, stalls: 20 * time.Second, goesOn: 40 * time.Second},
	{name: "the server's clock 2 s behind", shift: [2]time.Duration{0, -2 * time.Second}, sleeps: 0.02, stalls: 20 * time.Second, goesOn: 40 * time.Second},
	{name: "the server's clock 0.3 s behind", shift: [2]time.Duration{0, -300 * time.Millisecond}, sleeps: 0.02, busy: 400 * time.Millisecond, goesOn: 40 * time.Second},
	{name: "the server's clock 0.3 s ahead", shift: [2]time.Duration{0, 300 * time.Millisecond}, sleeps: 0.02, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "the server's clock 2 s ahead", shift: [2]time.Duration{0, 2 * time.Second}, sleeps: 0.02, busy: 400 * time.Millisecond, goesOn: 40 * time.Second},
	{name: "the server's clock an hour ahead", shift: [2]time.Duration{0, time.Hour}, sleeps: 0.02, stalls: 20 * time.Second, goesOn: 40 * time.Second},
	{name: "the server's watch begins late", late: [2]float64{0, 0.3}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "the client's watch begins late", late: [2]float64{0.3, 0}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "the server's stream breaks off", broken: [2]float64{0, 0.8}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "the client's stream breaks off", broken: [2]float64{0.8, 0}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "a flood", flood: 2500, stalls: 5 * time.Second, sleeps: 0.02, goesOn: 40 * time.Second},
	{name: "pipes that stand still for long", stalls: 2 * time.Minute, sleeps: 0.1, goesOn: 40 * time.Second},
	{name: "the server's watch ends early", over: [2]float64{0, 0.7}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "the client's watch ends early", over: [2]float64{0.7, 0}, stalls: 5 * time.Second, goesOn: 40 * time.Second},
	{name: "watches that end at once", stalls: 20 * time.Second, goesOn: 300 * time.Millisecond},
}

// What two live watches and kaflow correlate tell is true, however time goes at
// both ends and between them: nothing is told as sure that the whole captures
// contradict, a death is told in time and once, what is told of a probe is so, and
// in the end the verdicts are those of the captures.
func TestLiveVerdictsAreThoseOfTheCaptures(t *testing.T) {
	sets := storedSets(t)
	seeds, every := 1, 11 // of the plays, with each set
	if n, err := strconv.Atoi(os.Getenv("SIMULATE")); err == nil {
		seeds, every = n, 1
	}
	var told judged
	for i := range plays {
		for n, set := range sets {
			if (i+n)%every > 0 {
				continue
			}
			for seed := range seeds {
				x := simulate(t, set, &plays[i], uint64(seed))
				x.judge(t, &told)
			}
		}
	}
	if told.early == 0 || told.final == 0 || told.deaths == 0 || told.waited == 0 || told.probes == 0 {
		t.Errorf("too little was told: %+v", told)
	}
}

// judged counts what was judged.
type judged struct{ early, final, deaths, waited, probes int }

// judge holds what was told against the whole captures.
func (x *simulated) judge(t *testing.T, sum *judged) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %s, seed %d: %s", x.name, x.play.name, x.seed, fmt.Sprintf(format, args...))
	}
	want := map[string]answer{}
	report := reportOf(t, "analyze", "--json", "--all", "client="+x.paths[0], "server="+x.paths[1])
	flows, _ := report["flows"].([]any)
	for _, f := range flows {
		f := f.(map[string]any)
		v := f["verdict"].(map[string]any)
		sure, _ := v["confidence"].(string)
		want[pairName(f["client"].(string), f["server"].(string))] = answer{v["id"].(string), sure}
	}
	last := map[string]answer{}
	for _, h := range x.heard {
		if h.Verdict == nil {
			x.judgeProbe(&h, sum, fail)
			continue
		}
		name := pairName(h.Client, h.Server)
		got := h.answer()
		whole, known := want[name]
		if last[name] == got {
			fail("%s is told twice: %v", name, got)
		}
		last[name] = got
		if h.final {
			continue
		}
		sum.early++
		sure := got.sure == "proven" || got.sure == "likely"
		if whole.id == "path-cut" && got.id == "silent-drop" && !x.play.whole() {
			continue // the lost controls are what was cut off: an outage then looks like this
		}
		if known && sure && (got.id != whole.id || got.rank() > whole.rank()) {
			fail("%s is told to be %v %v after the first frame; the captures say %v (%s)", name, got, h.at.Sub(x.first), whole, h.Says)
		}
	}
	x.judgeDeaths(t, sum, fail)
	if !x.play.whole() {
		return
	}
	for name, whole := range want {
		sum.final++
		got := last[name]
		switch {
		case x.play.leavesOut() && got.rank() <= 1: // what crosses beside it is not known
		case whole.id == "capture-gap" && got.rank() <= 1: // watches know better since when they recorded
		case whole.id == "healthy" && got.id == "idle" && x.play.sleeps > 0: // the last wait was long
		case got.id != whole.id || got.rank() > whole.rank():
			fail("%s is %v in the end; the captures say %v", name, got, whole)
		}
	}
}

// judgeProbe holds what was told of a probe against the captures.
func (x *simulated) judgeProbe(h *heard, sum *judged, fail func(string, ...any)) {
	if h.What != monitor.ProbeLost || h.Frame == 0 || strings.Contains(h.Says, "not known") {
		return
	}
	here := slices.Index(endNames[:], h.Vantages[0])
	if here < 0 {
		fail("a probe of %v", h.Vantages)
		return
	}
	e := x.ends[here]
	f := &e.kept[h.Frame-1]
	crossed := slices.ContainsFunc(x.ends[1-here].frames, func(g lab.Frame) bool { return g.TCP && lab.Same(f, &g) })
	sum.probes++
	if strings.Contains(h.Says, "was lost between") == crossed {
		fail("frame %d of %s: %s; it crossed: %v", h.Frame, endNames[here], h.Says, crossed)
	}
}

// answer is a verdict and how sure it is.
type answer struct{ id, sure string }

func (a answer) rank() int {
	return slices.Index([]string{"", "possible", "likely", "proven"}, a.sure)
}

// patience is how long correlate waits for what other streams tell of a death.
const patience = 30 * time.Second

// judgeDeaths holds when and how deaths were told against when all was there that
// tells of them, by clocks that correlate does not know.
func (x *simulated) judgeDeaths(t *testing.T, sum *judged, fail func(string, ...any)) {
	t.Helper()
	for n := range x.lines {
		l := &x.lines[n]
		var ev struct {
			Type, Event, Client, Server string
			At                          time.Time
		}
		if !bytes.Contains(l.text, []byte(`"event":"died"`)) || json.Unmarshal(l.text, &ev) != nil {
			continue
		}
		name := pairName(ev.Client, ev.Server)
		death := ev.At.Add(-x.ends[l.stream].ahead)
		sum.deaths++
		first, best := time.Time{}, answer{}
		var said []answer
		for _, h := range x.heard {
			if !h.of(l.stream, name) || h.at.After(l.at.Add(patience+400*time.Millisecond)) {
				continue
			}
			if first.IsZero() {
				first = h.at
			}
			said = append(said, h.answer())
		}
		if first.IsZero() {
			if x.lines[len(x.lines)-1].at.After(l.at.Add(patience)) {
				fail("%s died at %v, which %s told at %v; correlate did not tell it in time", name, death, endNames[l.stream], l.at)
			}
			continue
		}
		best = said[len(said)-1]
		ready, ok := x.ready(t, l, death)
		if !ok || ready.After(l.at.Add(patience)) {
			continue
		}
		if sum.waited++; first.Before(ready) {
			if owed := x.asOf(t, ready, l.stream, name); owed != best && owed.rank() > 1 && (owed.id != best.id || owed.rank() > best.rank()) {
				fail("%s, of which %s told at %v, is told to be %v from %v on; at %v it is %v", name, endNames[l.stream], l.at, said, first, ready, owed)
			}
		}
	}
}

var completeUntil = regexp.MustCompile(`"complete":"([^"]+)"`)

// ready returns when both streams had told of what was up to a death.
func (x *simulated) ready(t *testing.T, l *arrival, death time.Time) (at time.Time, ok bool) {
	at = l.at
	for i, e := range x.ends {
		n := slices.IndexFunc(x.lines, func(a arrival) bool {
			m := completeUntil.FindSubmatch(a.text)
			if a.stream != i || m == nil {
				return false
			}
			complete, err := time.Parse(time.RFC3339Nano, string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			after := 500 * time.Millisecond
			if i == l.stream {
				after = 0
			}
			return !complete.Add(-e.ahead).Before(death.Add(after))
		})
		if n < 0 {
			return at, false
		}
		if x.lines[n].at.After(at) {
			at = x.lines[n].at
		}
	}
	return at, true
}

// asOf returns what is told of a connection by who asks at a moment.
func (x *simulated) asOf(t *testing.T, at time.Time, stream int, name string) (out answer) {
	t.Helper()
	c := correlate.New(endNames[:], correlate.Options{Roles: map[int]uint8{0: 0, 1: 1}, Tell: func(d correlate.Told) {
		if h := (heard{Told: d}); h.of(stream, name) {
			out = h.answer()
		}
	}})
	for _, l := range x.lines {
		if l.at.After(at) {
			break
		}
		if l.text == nil {
			c.End(l.stream)
		} else if err := c.Take(l.stream, l.text, l.at); err != nil {
			t.Fatal(err)
		}
	}
	c.Look(at.Add(time.Hour))
	return out
}
