package pairing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// tally is how many segments of each kind met each fate.
type tally map[string]int

func tallyOf(fates []Fate) tally {
	t := tally{}
	for _, f := range fates {
		word := f.Sent.Kind.String() + " " + f.How.String()
		if f.Assumed {
			word += " (assumed)"
		}
		t[word]++
	}
	return t
}

func only(t *testing.T, r *Result) *Pair {
	t.Helper()
	if len(r.Pairs) != 1 {
		t.Fatalf("got %d pairs, want 1: %+v", len(r.Pairs), r.Pairs)
	}
	return r.Pairs[0]
}

func TestSilentDropLosesEveryProbeOfBothEnds(t *testing.T) {
	w := silentDrop(twoTaps(3 * time.Second)).w
	p := only(t, matchSides(sidesOf(w), Options{}))
	if p.Method != byISN || p.Seen[0].Vantage != 0 || p.Seen[1].Vantage != 1 {
		t.Errorf("method %q, order %v, %v", p.Method, p.Seen[0].Vantage, p.Seen[1].Vantage)
	}
	want := tally{"syn crossed": 1, "ack crossed": 6, "data crossed": 5, "keepalive-probe lost": 9, "rst lost (assumed)": 1}
	if d := cmp.Diff(want, tallyOf(fatesBetween(p, flows.Client, 0, 1))); d != "" {
		t.Errorf("what the client sent (-want +got):\n%s", d)
	}
	want = tally{"syn-ack crossed": 1, "ack crossed": 5, "data crossed": 5, "keepalive-probe lost": 9, "rst lost (assumed)": 1}
	if d := cmp.Diff(want, tallyOf(fatesBetween(p, flows.Server, 1, 0))); d != "" {
		t.Errorf("what the server sent (-want +got):\n%s", d)
	}
	if p.SamePoint {
		t.Error("two ends of a path taken for one place")
	}
}

func TestStartInMidSilenceIsPairedBySequenceNumbers(t *testing.T) {
	s := silentDrop(twoTaps(0))
	taps := s.w.taps
	for k := range taps {
		taps[k].drop = func(i int) bool { return s.w.wires[i].kind != flows.KeepaliveProbe && s.w.wires[i].kind != flows.RST }
	}
	p := only(t, matchSides(sidesOf(s.w), Options{}))
	if p.Method != bySequence {
		t.Errorf("method %q, want %q", p.Method, bySequence)
	}
	for _, f := range fatesBetween(p, flows.Client, 0, 1)[:8] {
		if f.How == Lost && (!f.Assumed || f.Reason != ClockUnknown) {
			t.Errorf("nothing crossed, so the clocks cannot be compared, yet: %+v", f)
		}
	}
	offset := time.Duration(0)
	p = only(t, matchSides(sidesOf(s.w), Options{ClockOffset: &offset}))
	if got := tallyOf(fatesBetween(p, flows.Client, 0, 1)); got["keepalive-probe lost"] != 8 {
		t.Errorf("with the clocks given: %v", got)
	}
}

func TestSYNLostOnAKnownPath(t *testing.T) {
	taps := twoTaps(0)
	old := silentDrop(taps)
	fresh := talk(taps, steadyHop(10*time.Millisecond)).wait(2*time.Hour + 2*time.Minute)
	fresh.w.ends = [2]netip.AddrPort{netip.MustParseAddrPort("10.1.1.1:51300"), serverEnd}
	fresh.cut = [2]int{1, -1}
	fresh.put(flows.Client, flows.SYN, tcp.SYN, 77, 0)
	r := matchSides(sidesOf(old.w, fresh.w), Options{})
	var got []Fate
	for _, p := range r.Pairs {
		if p.Method == alone {
			got = p.Fates
		}
	}
	if d := cmp.Diff(tally{"syn lost": 1}, tallyOf(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestOutsideCoverageNothingIsProvenLost(t *testing.T) {
	at := func(d time.Duration) tcp.Instant { return epoch.Add(d) }
	dead := 2*time.Hour + 5*time.Second
	cases := []struct {
		situation string
		change    func(server *side)
		want      tally // of the client's probes
	}{
		{"recorded throughout", func(*side) {}, tally{"keepalive-probe lost": 9}},
		{"the server's capture has a hole in the dead phase",
			func(s *side) {
				s.holes = []capture.Interval{{From: at(dead), To: at(dead + 200*time.Second), Why: capture.WhyDropped}}
			}, tally{"keepalive-probe unknowable": 3, "keepalive-probe lost": 6}},
		{"it dropped packets at some time", func(s *side) { s.drops = 3 }, tally{"keepalive-probe unknowable": 9}},
		{"it ends before the probes", func(s *side) { s.end(at(time.Hour)) }, tally{"keepalive-probe lost (assumed)": 9}},
		{"it ends before the probes, but the user says that it was running", func(s *side) {
			s.end(at(time.Hour))
			s.covers = []capture.Interval{{From: at(0), To: at(3 * time.Hour)}}
		}, tally{"keepalive-probe lost": 9}},
		{"it ends before the probes as far as these hosts go, but is unfiltered and goes on", func(s *side) {
			s.end(at(time.Hour))
			s.unfiltered, s.first, s.last = true, at(0), at(3*time.Hour)
		}, tally{"keepalive-probe lost": 9}},
	}
	for _, c := range cases {
		t.Run(c.situation, func(t *testing.T) {
			sides := sidesOf(silentDrop(twoTaps(0)).w)
			c.change(sides[1])
			p := only(t, matchSides(sides, Options{}))
			got := tally{}
			for _, f := range fatesBetween(p, flows.Client, 0, 1) {
				if f.Sent.Kind == flows.KeepaliveProbe {
					for k, n := range tallyOf([]Fate{f}) {
						got[k] += n
					}
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// end cuts the side's capture off at an instant.
func (s *side) end(at tcp.Instant) {
	hosts := s.hosts
	for _, f := range s.flows {
		var kept []flows.Event
		for _, e := range f.Events {
			if e.At <= at {
				kept = append(kept, e)
			}
		}
		f.Events, f.Last = kept, kept[len(kept)-1].At
	}
	s.hosts = func(k *capture.Key) (flows.HostPair, bool) {
		h, ok := hosts(k)
		for d := range h.Last {
			h.Last[d] = min(h.Last[d], s.flows[0].Last)
		}
		return h, ok
	}
}

func TestCaptureThatBeginsLaterProvesNothingAboutWhatCameBefore(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(10*time.Millisecond)).handshake()
	for range 6 {
		s.data(flows.Client, 10, never).wait(time.Minute)
	}
	w := s.w
	w.taps[1].drop = func(i int) bool { return w.wires[i].at < 2*time.Minute }
	p := only(t, matchSides(sidesOf(w), Options{}))
	for _, f := range p.Fates {
		if f.How == Lost {
			t.Errorf("a false loss: %+v", f)
		}
	}
	if got := p.Fates[0]; got.Reason != Acknowledged && got.Reason != NotYet {
		t.Errorf("the SYN: %+v", got)
	}
}

func TestRetransmissionRepairsALoss(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(10*time.Millisecond)).handshake().data(flows.Client, 10, never)
	// Two segments, the first lost on the way; the peer still asks for it
	// after the second.
	lost := s.nxt[0]
	s.cut[0] = 1
	s.put(flows.Client, flows.Data, tcp.ACK|tcp.PSH, lost, 100)
	s.cut[0] = -1
	s.wait(time.Millisecond).put(flows.Client, flows.Data, tcp.ACK|tcp.PSH, lost.Add(100), 100)
	s.wait(25*time.Millisecond).put(flows.Server, flows.DupACK, tcp.ACK, s.nxt[1], 0)
	s.wait(1500*time.Millisecond).put(flows.Client, flows.Data, tcp.ACK|tcp.PSH, lost.Add(200), 100)
	s.wait(25*time.Millisecond).put(flows.Server, flows.DupACK, tcp.ACK, s.nxt[1], 0)
	s.wait(300*time.Millisecond).put(flows.Client, flows.Retransmission, tcp.ACK|tcp.PSH, lost, 100)
	s.nxt[0] = lost.Add(300)
	s.wait(25*time.Millisecond).put(flows.Server, flows.ACK, tcp.ACK, s.nxt[1], 0)
	p := only(t, matchSides(sidesOf(s.w), Options{}))
	want := tally{"syn crossed": 1, "ack crossed": 1, "data crossed": 3, "data lost": 1, "retransmission crossed": 1}
	if d := cmp.Diff(want, tallyOf(fatesBetween(p, flows.Client, 0, 1))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestThreePointsNameTheGuiltyHop(t *testing.T) {
	taps := []tap{{name: "client.pcap"}, {name: "middle.pcap", offset: -time.Hour, ttl: 1}, {name: "server.pcap", offset: 5 * time.Second, ttl: 2}}
	s := talk(taps, steadyHop(5*time.Millisecond)).handshake().data(flows.Client, 10, never).data(flows.Server, 10, never)
	s.wait(time.Hour)
	s.cut = [2]int{2, 1}
	for range 5 {
		s.probe(flows.Client).wait(time.Second).probe(flows.Server).wait(74 * time.Second)
	}
	p := only(t, matchSides(sidesOf(s.w), Options{}))
	got := map[[2]int]tally{}
	for _, f := range p.Fates {
		if f.Sent.Kind == flows.KeepaliveProbe {
			if got[f.Between] == nil {
				got[f.Between] = tally{}
			}
			got[f.Between][f.How.String()]++
		}
	}
	// The clock bounds after the hour's silence leave the server's last probes
	// at the end of the others' coverage.
	if got[[2]int{0, 1}]["crossed"] != 5 || got[[2]int{1, 2}]["crossed"] != 0 || got[[2]int{1, 2}]["lost"] != 5 || got[[2]int{2, 1}]["lost"] != 5 {
		t.Errorf("fates by hop: %v", got)
	}
}

func TestTwoFilesOfOnePlaceAreSaidToBeSo(t *testing.T) {
	taps := []tap{{name: "a.pcap"}, {name: "b.pcap"}}
	hop := func(_ uint8, h int) time.Duration {
		if h == 0 {
			return 4 * time.Millisecond
		}
		return 0
	}
	s := talk(taps, hop).handshake().data(flows.Client, 10, never).data(flows.Server, 10, never)
	r := matchSides(sidesOf(s.w), Options{})
	if p := only(t, r); !p.SamePoint || len(r.Same) != 1 || len(r.Notes) == 0 {
		t.Errorf("same point %v, %v, notes %q", p.SamePoint, r.Same, r.Notes)
	}
}

func TestPortReuseIsAssignedByISNNotByOrder(t *testing.T) {
	taps := twoTaps(0)
	var all []*world
	for n := range 4 {
		s := talk(taps, steadyHop(time.Millisecond)).wait(time.Duration(n) * time.Minute)
		s.nxt = [2]tcp.Seq{tcp.Seq(1000 + 1_000_000*n), tcp.Seq(50_000 + 3_000_000*n)}
		all = append(all, s.handshake().data(flows.Client, 10, never).w)
	}
	sides := []*side{sideOf(0, all...), sideOf(1, all[3], all[1], all[0])}
	r := matchSides(sides, Options{})
	methods := map[string]int{}
	for _, p := range r.Pairs {
		methods[p.Method]++
		if len(p.Seen) == 2 && p.Seen[0].Flow.Sides[0].ISN != p.Seen[1].Flow.Sides[0].ISN {
			t.Errorf("ISN %d paired with %d", p.Seen[0].Flow.Sides[0].ISN, p.Seen[1].Flow.Sides[0].ISN)
		}
	}
	if d := cmp.Diff(map[string]int{byISN: 3, alone: 1}, methods); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Of a port that is used thousands of times each connection finds its own by its initial
// numbers; where those come again and again, by its timestamps; without a handshake none.
func TestPortUsedThousandsOfTimes(t *testing.T) {
	taps := twoTaps(0)
	var near, far []*world
	begin := func(client, server tcp.Seq, n int, silent bool) *world {
		s := talk(taps, steadyHop(time.Millisecond)).wait(time.Duration(n) * time.Second)
		if s.nxt = [2]tcp.Seq{client, server}; silent {
			return s.data(flows.Client, 10, never).w
		}
		return s.handshake().data(flows.Client, 10, never).w
	}
	const own, repeated, begun = 2000, 50, 20
	for n := range own {
		w := begin(tcp.Seq(1000+1_000_003*n), tcp.Seq(50_000+3_000_017*n), n, false)
		near = append(near, w)
		if n%4 > 0 {
			far = append(far, w)
		}
	}
	for n := range repeated {
		w := begin(77, 88, own+n, false)
		near, far = append(near, w), append(far, w)
	}
	for n := range begun {
		near = append(near, begin(tcp.Seq(5_000_000*n), 99, own+repeated+n, true))
	}
	slices.Reverse(far)
	r := matchSides([]*side{sideOf(0, near...), sideOf(1, far...)}, Options{})
	methods := map[string]int{}
	for _, p := range r.Pairs {
		methods[p.Method]++
		if len(p.Seen) == 2 && p.Seen[0].Flow.Sides[0].ISN != p.Seen[1].Flow.Sides[0].ISN {
			t.Errorf("ISN %d paired with %d", p.Seen[0].Flow.Sides[0].ISN, p.Seen[1].Flow.Sides[0].ISN)
		}
		if len(p.Seen) == 2 && p.Seen[1].Flow.First.Sub(p.Seen[0].Flow.First).Abs() > 500*time.Millisecond {
			t.Errorf("what began at %v is paired with what began at %v", p.Seen[0].Flow.First, p.Seen[1].Flow.First)
		}
	}
	if d := cmp.Diff(map[string]int{byISN: own * 3 / 4, byRawISN: repeated, alone: own/4 + begun}, methods); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want := fmt.Sprintf("%d flows without a handshake of their own numbers were not compared by their addresses: ", 2*repeated+begun)
	if len(r.Notes) == 0 || !strings.HasPrefix(r.Notes[0], want) {
		t.Errorf("notes %q, want %q first", r.Notes, want)
	}
}

// A connection that may as well be another one's is not picked, and knows which they are.
func TestEqualRivalsAreNamed(t *testing.T) {
	taps := twoTaps(0)
	s := talk(taps, steadyHop(time.Millisecond)).handshake().data(flows.Client, 10, never)
	for _, crowded := range []int{1, 300} { // by all that they hold; by their numbers alone
		near, far := []*world{s.w}, []*world{s.w, s.w}
		for n := range crowded - 1 {
			w := talk(taps, steadyHop(time.Millisecond)).wait(time.Hour + time.Duration(n)*time.Second)
			w.nxt = [2]tcp.Seq{tcp.Seq(1000 + 1_000_003*n), tcp.Seq(50_000 + 3_000_017*n)}
			w.handshake().data(flows.Client, 10, never)
			near, far = append(near, w.w), append(far, w.w)
		}
		r := matchSides([]*side{sideOf(0, near...), sideOf(1, far...)}, Options{})
		doubtful := 0
		for _, p := range r.Pairs {
			if len(p.Ambiguous) > 0 {
				doubtful++
			}
		}
		if len(r.Pairs) != crowded+2 || doubtful != 3 {
			t.Errorf("%d instances: %d pairs, %d of them ambiguous; want %d and 3", crowded, len(r.Pairs), doubtful, crowded+2)
		}
	}
}

func TestGuessedRolesAreTurnedToTheKnownOnes(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(time.Millisecond)).handshake().data(flows.Client, 10, never).data(flows.Server, 20, never)
	s.w.taps[1].drop = func(i int) bool { return i < 3 } // no handshake
	sides := sidesOf(s.w)
	sides[1].flows[0] = mirrored(sides[1].flows[0])
	p := only(t, matchSides(sides, Options{}))
	if len(p.Seen) != 2 || p.Seen[1].Flow.Sides[flows.Client].Addr != clientEnd {
		t.Fatalf("seen %+v", p.Seen)
	}
	if got := tallyOf(fatesBetween(p, flows.Server, 1, 0)); got["data crossed"] != 1 {
		t.Errorf("what the server sent: %v", got)
	}
}

func TestSuperSegmentEqualsItsParts(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(time.Millisecond)).handshake().data(flows.Server, 10, never)
	big := s.put(flows.Client, flows.Data, tcp.ACK|tcp.PSH, s.nxt[0], 4000)
	var parts []int
	for n := range 4 {
		i := s.put(flows.Client, flows.Data, tcp.ACK, s.nxt[0].Add(1000*n), 1000)
		s.w.wires[i].ts, s.w.wires[i].ecr = s.w.wires[big].ts, s.w.wires[big].ecr
		parts = append(parts, i)
	}
	s.nxt[0] = s.nxt[0].Add(4000)
	s.wait(10*time.Millisecond).put(flows.Server, flows.ACK, tcp.ACK, s.nxt[1], 0)
	in := func(i int) bool {
		for _, p := range parts {
			if p == i {
				return true
			}
		}
		return false
	}
	whole, cut := func(i int) bool { return in(i) }, func(i int) bool { return i == big }
	for name, drops := range map[string][2]func(int) bool{"cut by the card (TSO)": {whole, cut}, "put together at the receiver (GRO)": {cut, whole}} {
		t.Run(name, func(t *testing.T) {
			s.w.taps[0].drop, s.w.taps[1].drop = drops[0], drops[1]
			p := only(t, matchSides(sidesOf(s.w), Options{}))
			for _, f := range fatesBetween(p, flows.Client, 0, 1) {
				if f.How != Crossed {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestIdenticalProbes(t *testing.T) {
	build := func(every time.Duration) *world {
		s := talk(twoTaps(0), steadyHop(200*time.Millisecond)).handshake().data(flows.Client, 10, never).data(flows.Server, 10, never)
		s.wait(time.Minute)
		s.ipid = [2]uint16{}
		for n := range 6 {
			s.cut[0] = -1
			if n == 2 {
				s.cut[0] = 1
			}
			i := s.put(flows.Client, flows.KeepaliveProbe, tcp.ACK, s.nxt[0].Add(-1), 0)
			s.w.wires[i].ipid = 0
			s.wait(every)
		}
		s.wait(time.Minute).cut[0] = -1
		s.data(flows.Server, 10, never)
		s.w.noTS = true
		return s.w
	}
	for _, c := range []struct {
		situation string
		every     time.Duration
		want      tally
	}{
		{"far apart: each one's fate is known", 75 * time.Second, tally{"keepalive-probe crossed": 5, "keepalive-probe lost": 1}},
		{"closer than the clocks tell: only how many", 300 * time.Millisecond, tally{"keepalive-probe unknowable": 6}},
	} {
		t.Run(c.situation, func(t *testing.T) {
			p := only(t, matchSides(sidesOf(build(c.every)), Options{}))
			got := tally{}
			for _, f := range fatesBetween(p, flows.Client, 0, 1) {
				if f.Sent.Kind == flows.KeepaliveProbe {
					for k, n := range tallyOf([]Fate{f}) {
						got[k] += n
					}
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// Two views share one segment, or hold two that differ in the IP ID alone: with
// nothing else in common, nothing tells which.
func TestOnlyTheIPIDDiffers(t *testing.T) {
	s := talk(twoTaps(0), steadyHop(50*time.Microsecond)).handshake().probe(flows.Client)
	const ack, probe = 2, 3
	if a, b := s.w.wires[ack], s.w.wires[probe]; a.ts != b.ts || a.kind != flows.ACK {
		t.Fatalf("%+v, %+v", a, b)
	}
	s.w.wires[probe].seq, s.w.wires[probe].kind = s.w.wires[ack].seq, flows.ACK
	for kept, want := range map[int]How{ack: Crossed, probe: Unknowable} {
		s.w.taps[0].drop = func(i int) bool { return i != kept }
		s.w.taps[1].drop = func(i int) bool { return i >= probe }
		p := only(t, matchSides(sidesOf(s.w), Options{}))
		if fates := fatesBetween(p, flows.Client, 0, 1); len(fates) != 1 || fates[0].How != want {
			t.Errorf("%+v, want one that is %s", fates, want)
		}
	}
}

// TestChecksumsTellWhoseCaptureItIs: where TTL and delays say nothing, wrong
// checksums of one sender show the capture on its host.
func TestChecksumsTellWhoseCaptureItIs(t *testing.T) {
	for k := range 2 {
		taps := []tap{{name: "b.pcap"}, {name: "a.pcap"}} // names would say the opposite
		s := silentDrop(taps)
		for p := range s.w.taps { // one direction crosses
			s.w.taps[p].drop = func(i int) bool { return p == 0 && s.w.wires[i].from == flows.Server }
		}
		sides := sidesOf(s.w)
		marked := sides[k].flows[0]
		for i := range marked.Events {
			if e := &marked.Events[i]; e.From == uint8(k) {
				e.Note |= flows.NoteBadSum
			}
		}
		for i, f := range []*flows.Flow{sides[0].flows[0], sides[1].flows[0]} {
			if i == 1 {
				f.Sides[1].Segments = 0 // not by who is there, either
				f.Sides[0].Segments = 1
			}
		}
		p := matchSides(sides, Options{}).Pairs[0]
		if p.Seen[0].Vantage != 0 || !strings.Contains(p.OrderWhy, "network card") {
			t.Errorf("marked at %d: path %v, because %q", k, p.Path, p.OrderWhy)
		}
	}
}
