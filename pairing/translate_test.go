package pairing

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

var (
	insideEnd = netip.MustParseAddrPort("10.0.0.5:40112")
	publicEnd = netip.MustParseAddrPort("198.51.100.7:61044")
	serviceAt = netip.MustParseAddrPort("203.0.113.9:22")
	hiddenEnd = netip.MustParseAddrPort("192.168.7.7:2222")
)

// translatedTaps is a client's and a server's capture with a box between that
// rewrites addresses and sequence numbers.
func translatedTaps(client, server [2]netip.AddrPort, shift [2]uint32) []tap {
	taps := twoTaps(7 * time.Second)
	taps[0].ends, taps[1].ends, taps[1].shift = client, server, shift
	return taps
}

// late drops what is sent before a moment, like a capture that starts then.
func late(s *script, k int, at time.Duration) {
	s.w.taps[k].drop = func(i int) bool { return s.w.wires[i].at < at }
}

func TestTranslatedSilentDropIsPairedAndItsProbesAreLost(t *testing.T) {
	plain := [2]netip.AddrPort{insideEnd, serviceAt}
	six := [2]netip.AddrPort{netip.MustParseAddrPort("[2001:db8::5]:40112"), netip.MustParseAddrPort("[64:ff9b::203.0.113.9]:22")}
	for _, tc := range []struct {
		name           string
		client, server [2]netip.AddrPort
		shift          [2]uint32
		method         string
		late           time.Duration // the server's capture begins then
		noTS           bool
	}{
		{name: "source", client: plain, server: [2]netip.AddrPort{publicEnd, serviceAt}, method: "isn"},
		{name: "destination", client: plain, server: [2]netip.AddrPort{insideEnd, hiddenEnd}, method: "isn"},
		{name: "both", client: plain, server: [2]netip.AddrPort{publicEnd, hiddenEnd}, method: "isn"},
		{name: "without timestamps", client: plain, server: [2]netip.AddrPort{publicEnd, serviceAt}, method: "isn", noTS: true},
		{name: "port alone", client: plain, server: [2]netip.AddrPort{netip.AddrPortFrom(insideEnd.Addr(), 61044), serviceAt}, method: "isn"},
		{name: "IPv6 to IPv4", client: six, server: [2]netip.AddrPort{publicEnd, serviceAt}, method: "isn"},
		{name: "source, late start", client: plain, server: [2]netip.AddrPort{publicEnd, serviceAt}, method: "sequence", late: time.Second},
		{name: "source, late start without timestamps", client: plain, server: [2]netip.AddrPort{publicEnd, serviceAt}, method: "sequence", late: time.Second, noTS: true},
		{name: "server on the higher address", client: plain, server: [2]netip.AddrPort{serviceAt, publicEnd}, method: "isn"},
		{name: "shifted", client: plain, server: plain, shift: [2]uint32{1 << 31, 77}, method: "timestamps"},
		{name: "one side shifted", client: plain, server: plain, shift: [2]uint32{12345, 0}, method: "timestamps"},
		{name: "shifted, late start", client: plain, server: plain, shift: [2]uint32{1 << 30, 77}, method: "timestamps", late: time.Second},
		{name: "shifted without timestamps", client: plain, server: plain, shift: [2]uint32{1 << 31, 77}, method: "addresses+ipid", noTS: true},
		{name: "source and shifted", client: plain, server: [2]netip.AddrPort{publicEnd, serviceAt}, shift: [2]uint32{99, 3 << 30}, method: "timestamps"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := silentDrop(translatedTaps(tc.client, tc.server, tc.shift))
			s.w.noTS = tc.noTS
			if tc.late > 0 {
				late(s, 1, tc.late)
			}
			for _, swapped := range []bool{false, true} {
				sides := sidesOf(s.w)
				near, far := 0, 1
				if swapped {
					sides[0], sides[1] = sides[1], sides[0]
					near, far = 1, 0
				}
				judgeTranslated(t, matchSides(sides, Options{}), near, far, tc.method, tc.shift)
			}
		})
	}
}

// The captures before and behind a firewall that shifts sequence numbers have the
// same addresses, the third, behind a NAT, the second's numbers. What joins the
// second and the third is weaker than what joins the first: the shift is not forgotten.
func TestShiftBesideATranslation(t *testing.T) {
	shift := [2]uint32{1 << 31, 77 << 20}
	taps := []tap{{name: "client.pcap"}, {name: "dmz.pcap", shift: shift, ttl: 1}, {name: "server.pcap", shift: shift, ttl: 2, ends: [2]netip.AddrPort{publicEnd, serviceAt}}}
	taps[0].ends, taps[1].ends = [2]netip.AddrPort{insideEnd, serviceAt}, [2]netip.AddrPort{insideEnd, serviceAt}
	s := silentDrop(taps)
	s.w.taps[1].drop = func(i int) bool { return i == 0 || i > 12 }
	s.w.taps[2].drop = func(i int) bool { return i < 11 || i > 13 } // two segments in common with the second
	p := only(t, matchSides(sidesOf(s.w), Options{}))
	if len(p.Seen) != 3 || p.Seen[1].Shift != shift || p.Seen[2].Shift != shift {
		t.Errorf("method %s: %+v, want three points, the later ones shifted by %v", p.Method, p.Seen, shift)
	}
}

func judgeTranslated(t *testing.T, r *Result, near, far int, method string, shift [2]uint32) {
	t.Helper()
	if len(r.Pairs) != 1 || len(r.Pairs[0].Seen) != 2 {
		t.Fatalf("%d pairs, want one seen twice; notes %q", len(r.Pairs), r.Notes)
	}
	p := r.Pairs[0]
	if p.Method != method || p.Seen[0].Vantage != near || p.Seen[1].Shift != shift || p.Margin <= 0 {
		t.Errorf("method %s, margin %v, first seen at %d, shift %v; want %s at %d, shift %v", p.Method, p.Margin, p.Seen[0].Vantage, p.Seen[1].Shift, method, near, shift)
	}
	lost := [2]int{}
	for _, f := range p.Fates {
		if f.How == Lost && !f.Assumed {
			lost[f.From]++
		}
	}
	if lost[flows.Client] < 9 || lost[flows.Server] < 9 {
		t.Errorf("%v segments lost of client and server, want the nine probes of each at least", lost)
	}
	if len(fatesBetween(p, flows.Client, near, far)) == 0 || len(fatesBetween(p, flows.Server, far, near)) == 0 {
		t.Errorf("fates do not go from %d to %d and back", near, far)
	}
}

// crowdBehindOneAddress is many connections of many hosts to one service, all
// from one address beyond the translation, and the truth about them.
// Only so many of them have numbers of their own.
func crowdBehindOneAddress(n, distinct int, change func(i int, s *script)) []*world {
	return crowdThatBegins(n, distinct, nil, change)
}

// crowdThatBegins is that, with a word before the first packet of each.
func crowdThatBegins(n, distinct int, begin, change func(i int, s *script)) []*world {
	public := netip.MustParseAddr("198.51.100.7")
	var worlds []*world
	for i := range n {
		inside := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(1 + i%200)}), uint16(40000+i%7))
		taps := translatedTaps([2]netip.AddrPort{inside, serviceAt}, [2]netip.AddrPort{netip.AddrPortFrom(public, uint16(1024+i)), serviceAt}, [2]uint32{})
		s := talk(taps, func(from uint8, h int) time.Duration {
			return time.Duration(3000+(i%distinct*37+h*11)%900) * time.Microsecond
		})
		k := uint32(i%distinct + 1)
		s.nxt = [2]tcp.Seq{tcp.Seq(k * 2654435761), tcp.Seq(k * 3266489917)}
		s.tsBase = [2]uint32{k * 668265263, k * 374761393}
		s.ipid = [2]uint16{uint16(k * 7), uint16(k * 13)}
		s.now = time.Duration(k) * 3 * time.Millisecond
		if begin != nil {
			begin(i, s)
		}
		s.handshake().data(flows.Client, uint32(20+i%distinct%5), never).data(flows.Server, 100, never).wait(60 * time.Second)
		s.probe(flows.Client).wait(60 * time.Second).probe(flows.Client).wait(time.Second)
		if change != nil {
			change(i, s)
		}
		worlds = append(worlds, s.w)
	}
	return worlds
}

// thinned loses frames at random at both points.
func thinned(i int, s *script, share float64) {
	rng := rand.New(rand.NewPCG(uint64(i), 77))
	for k := range s.w.taps {
		gone := map[int]bool{}
		for w := range s.w.wires {
			gone[w] = rng.Float64() < share
		}
		before := s.w.taps[k].drop
		s.w.taps[k].drop = func(w int) bool { return gone[w] || before != nil && before(w) }
	}
}

func shiftedBy(i int, s *script) {
	s.w.taps[1].shift = [2]uint32{uint32(i+1) * 40503, uint32(i+1) * 2246822519}
}

// TestCrowdWithFramesMissing prints how many of 1,500 connections behind one
// address are paired where both captures miss frames: none wrongly.
func TestCrowdWithFramesMissing(t *testing.T) {
	const n = 1500
	for _, tc := range []struct {
		name   string
		share  float64
		change func(i int, s *script)
		least  int
	}{
		{"2 % missing", 0.02, nil, n * 99 / 100},
		{"10 % missing", 0.1, nil, n * 97 / 100},
		{"30 % missing", 0.3, nil, n * 80 / 100},
		{"60 % missing", 0.6, nil, n * 20 / 100},
		{"10 % missing, no timestamps", 0.1, func(_ int, s *script) { s.w.noTS = true }, n * 97 / 100},
		{"10 % missing, server's begins late", 0.1, func(_ int, s *script) { late(s, 1, 30*time.Second) }, n * 90 / 100},
		{"10 % missing, numbers shifted", 0.1, shiftedBy, n * 97 / 100},
		{"30 % missing, numbers shifted", 0.3, shiftedBy, n * 70 / 100},
		{"10 % missing, a third never arrives", 0.1, func(i int, s *script) {
			if i%3 == 0 {
				s.w.taps[1].drop = func(int) bool { return true }
			}
		}, n * 63 / 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			worlds := crowdBehindOneAddress(n, n, func(i int, s *script) {
				if tc.change != nil {
					tc.change(i, s)
				}
				thinned(i, s, tc.share)
			})
			got := reckon(matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{}), worlds)
			t.Logf("%-40s right %4d, wrong %d, ambiguous %d, at one point only %4d", tc.name, got.right, got.wrong, got.ambiguous, got.alone)
			if got.wrong > 0 || got.right < tc.least {
				t.Errorf("%+v of %d, want none wrong and at least %d right", got, n, tc.least)
			}
		})
	}
}

// TestCrowdOfOneClock: hosts that give all connections the timestamps of one
// clock, and numbers that are shifted. What begins in the same tick cannot be
// told apart by them: it may stay ambiguous, and must not be paired wrongly.
func TestCrowdOfOneClock(t *testing.T) {
	const n = 600
	for _, tc := range []struct {
		name   string
		share  float64
		within int // so many begin in the same tick
	}{
		{"apart", 0, 1},
		{"apart, 10 % missing", 0.1, 1},
		{"ten at a time", 0, 10},
		{"ten at a time, 10 % missing", 0.1, 10},
		{"ten at a time, 30 % missing", 0.3, 10},
		{"ten at a time, 60 % missing", 0.6, 10},
		{"ten at a time, no IP IDs", 0, 10},
		{"ten at a time, no IP IDs, 10 % missing", 0.1, 10},
		{"ten at a time, no IP IDs, 30 % missing", 0.3, 10},
		{"ten at a time, no IP IDs, 60 % missing", 0.6, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			worlds := crowdThatBegins(n, n, func(i int, s *script) {
				s.tsBase = [2]uint32{5000, 90_000}
				s.now = time.Duration(i/tc.within) * 250 * time.Millisecond
				s.hop = steadyHop(3 * time.Millisecond)
			}, func(i int, s *script) {
				shiftedBy(i, s)
				thinned(i, s, tc.share)
				for k := range s.w.wires {
					if strings.Contains(tc.name, "no IP IDs") {
						s.w.wires[k].ipid = 0
					}
				}
			})
			got := reckon(matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{}), worlds)
			t.Logf("%-40s right %4d, wrong %d, ambiguous %d, at one point only %4d", tc.name, got.right, got.wrong, got.ambiguous, got.alone)
			if got.wrong > 0 || tc.within == 1 && got.right < n*95/100 {
				t.Errorf("%+v of %d", got, n)
			}
		})
	}
}

// score is how many connections of a crowd were paired rightly, wrongly, not
// at all, and called ambiguous.
type score struct{ right, wrong, alone, ambiguous int }

// reckon holds the pairs against the worlds that they were made from.
func reckon(r *Result, worlds []*world) (got score) {
	truth := map[netip.AddrPort]netip.AddrPort{}
	for _, w := range worlds {
		truth[w.taps[0].ends[0]] = w.taps[1].ends[0]
	}
	for _, p := range r.Pairs {
		switch {
		case len(p.Ambiguous) > 0:
			got.ambiguous++
		case len(p.Seen) < 2:
			got.alone++
		case truth[p.Seen[0].Flow.Sides[flows.Client].Addr] == p.Seen[1].Flow.Sides[flows.Client].Addr:
			got.right++
		default:
			got.wrong++
		}
	}
	return got
}

func TestCrowdBehindOneAddress(t *testing.T) {
	const n = 1500
	begin := 30 * time.Second
	for _, tc := range []struct {
		name   string
		change func(i int, s *script)
		want   score
	}{
		{"handshakes seen", nil, score{right: n}},
		{"server's capture begins after the data", func(_ int, s *script) { late(s, 1, begin) }, score{right: n}},
		{"both begin after the data", func(_ int, s *script) { late(s, 0, begin); late(s, 1, begin) }, score{right: n}},
		{"server's begins late, no timestamps", func(_ int, s *script) { s.w.noTS = true; late(s, 1, begin) }, score{right: n}},
		{"sequence numbers shifted as well", func(i int, s *script) {
			s.w.taps[1].shift = [2]uint32{uint32(i+1) * 40503, uint32(i+1) * 2246822519}
		}, score{right: n}},
		{"a third never arrives", func(i int, s *script) {
			if i%3 == 0 {
				s.w.taps[1].drop = func(int) bool { return true }
			}
		}, score{right: n * 2 / 3, alone: n / 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			worlds := crowdBehindOneAddress(n, n, tc.change)
			r := matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{})
			if got := reckon(r, worlds); got != tc.want {
				t.Errorf("%+v, want %+v; notes %q", got, tc.want, r.Notes)
			}
		})
	}
}

func TestTwinsAreAmbiguousAndNothingOfThemIsLost(t *testing.T) {
	const n = 1000
	worlds := crowdBehindOneAddress(n, n/2, nil)
	r := matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{})
	if got, want := reckon(r, worlds), (score{ambiguous: 2 * n}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, p := range r.Pairs {
		for _, f := range p.Fates {
			if f.How == Lost {
				t.Fatalf("a segment of an ambiguous connection is called lost: %+v", f)
			}
		}
	}
}

// proxied is one session through a proxy: two conversations with octets in
// common, each seen at one end.
func proxied(client, server [2]netip.AddrPort, octets uint32) (near, far *world) {
	for k, ends := range [2][2]netip.AddrPort{client, server} {
		taps := twoTaps(0)
		taps[0].ends, taps[1].ends = ends, ends
		taps[1-k].drop = func(int) bool { return true }
		s := talk(taps, steadyHop(time.Duration(5+k)*time.Millisecond))
		s.nxt = [2]tcp.Seq{tcp.Seq(1000 + 7919*k), tcp.Seq(9000 + 104729*k)}
		s.tsBase = [2]uint32{uint32(5000 + 600_000*k), uint32(90_000 + 700_000*k)}
		s.now = time.Duration(k) * 20 * time.Millisecond
		s.handshake().data(flows.Client, octets, never).data(flows.Server, 2*octets, never)
		s.wait(time.Minute).probe(flows.Client).wait(time.Second)
		if k == 0 {
			near = s.w
		} else {
			far = s.w
		}
	}
	return near, far
}

func TestProxyJoinsTwoConnectionsOfWhichNothingIsLost(t *testing.T) {
	inside, outside := [2]netip.AddrPort{insideEnd, serviceAt}, [2]netip.AddrPort{publicEnd, hiddenEnd}
	for _, tc := range []struct {
		name        string
		far         [2]netip.AddrPort
		transparent bool
	}{
		{"with its own address", outside, false},
		{"under the client's address", inside, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := proxied(inside, tc.far, 400)
			r := matchSides([]*side{sideOf(0, a, b), sideOf(1, a, b)}, Options{})
			if len(r.Pairs) != 2 {
				t.Fatalf("%d connections, want two", len(r.Pairs))
			}
			for _, p := range r.Pairs {
				if p.Partner == nil || p.Partner.Vantage == p.Seen[0].Vantage || p.Partner.Transparent != tc.transparent || len(p.Fates) != 0 {
					t.Errorf("seen at %d: partner %+v, fates %v", p.Seen[0].Vantage, p.Partner, p.Fates)
				}
			}
		})
	}
}

func TestTwoSessionsOfEqualSizeHaveNoPartnerNamed(t *testing.T) {
	inside, outside := [2]netip.AddrPort{insideEnd, serviceAt}, [2]netip.AddrPort{publicEnd, hiddenEnd}
	a, b := proxied(inside, outside, 400)
	inside[0], outside[0] = netip.AddrPortFrom(insideEnd.Addr(), 40113), netip.AddrPortFrom(publicEnd.Addr(), 61045)
	c, d := proxied(inside, outside, 400)
	r := matchSides([]*side{sideOf(0, a, b, c, d), sideOf(1, a, b, c, d)}, Options{})
	for _, p := range r.Pairs {
		if p.Partner != nil || p.Halves != 2 {
			t.Errorf("%d halves are told; %v has the partner %v, and two could be it", p.Halves, p.Seen[0].Flow.Sides[0].Addr, p.Partner.Flow.Sides[0].Addr)
		}
	}
}

// relayed is one session through a proxy that encrypts anew: octets differ in
// number and content, and only the moments at which either end sends are alike.
func relayed(i int, start time.Duration, pauses []time.Duration) (near, far *world) {
	inside := [2]netip.AddrPort{netip.AddrPortFrom(insideEnd.Addr(), uint16(40000+i)), serviceAt}
	outside := [2]netip.AddrPort{netip.AddrPortFrom(publicEnd.Addr(), uint16(61000-i*7)), hiddenEnd}
	for k, ends := range [2][2]netip.AddrPort{inside, outside} {
		taps := twoTaps(5 * time.Hour)
		taps[0].ends, taps[1].ends = ends, ends
		taps[1-k].drop = func(int) bool { return true }
		s := talk(taps, steadyHop(time.Duration(5+k)*time.Millisecond))
		s.nxt = [2]tcp.Seq{tcp.Seq(1000*i + 7919*k), tcp.Seq(9000*i + 104729*k)}
		s.tsBase = [2]uint32{uint32(5000*i + 600_000*k), uint32(90_000*i + 700_000*k)}
		s.now = start + time.Duration(k)*20*time.Millisecond
		s.handshake()
		for n, p := range pauses {
			s.now = max(s.now, start+time.Duration(k)*12*time.Millisecond+p)
			s.data(flows.Client, uint32(50+n+11*k), never).data(flows.Server, uint32(300+n+17*k), never)
		}
		if k == 0 {
			near = s.w
		} else {
			far = s.w
		}
	}
	return near, far
}

func TestMomentsNameThePartnerBeyondAProxy(t *testing.T) {
	const n = 60
	rng := rand.New(rand.NewPCG(3, 5))
	var worlds []*world
	for i := range n {
		var pauses []time.Duration
		at := time.Duration(0)
		for range 5 + rng.IntN(10) {
			at += time.Duration(1000+rng.IntN(20_000)) * time.Millisecond
			pauses = append(pauses, at)
		}
		a, b := relayed(i, time.Duration(rng.IntN(8000))*time.Millisecond, pauses)
		worlds = append(worlds, a, b)
	}
	tellClocks(&worlds)
	r := matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{})
	right, wrong, open := 0, 0, 0
	for _, p := range r.Pairs {
		switch {
		case len(p.Seen) > 1:
		case p.Partner == nil:
			open++
		case partnerIs(p.Seen[0].Flow, p.Partner.Flow):
			right++
			if p.Partner.By != partnerByTiming || p.Partner.Margin <= 0 || len(p.Fates) != 0 {
				t.Errorf("%+v, %d fates", p.Partner, len(p.Fates))
			}
		default:
			wrong++
		}
	}
	t.Logf("of %d halves %d rightly joined, %d wrongly, %d left open", 2*n, right, wrong, open)
	if wrong > 0 || right < 2*n*9/10 {
		t.Errorf("of %d halves %d rightly joined, %d wrongly, %d left open", 2*n, right, wrong, open)
	}
}

// partnerIs reports whether two flows are the halves of one of relayed's
// sessions.
func partnerIs(f, g *flows.Flow) bool {
	x, y := int(f.Sides[0].Addr.Port()), int(g.Sides[0].Addr.Port())
	if x > y {
		x, y = y, x
	}
	return 61000-7*(x-40000) == y
}

// tellClocks adds a connection that both points hold.
func tellClocks(worlds *[]*world) {
	s := talk(twoTaps(5*time.Hour), steadyHop(3*time.Millisecond)).handshake()
	for range 10 {
		s.data(flows.Client, 10, never).data(flows.Server, 10, never).wait(20 * time.Second)
	}
	*worlds = append(*worlds, s.w)
}

func TestSessionsOfOneRhythmHaveNoPartnerNamed(t *testing.T) {
	var pauses []time.Duration
	for k := range 12 {
		pauses = append(pauses, time.Duration(k+1)*5*time.Second)
	}
	var worlds []*world
	for i := range 3 {
		a, b := relayed(i, time.Duration(i)*30*time.Millisecond, pauses)
		worlds = append(worlds, a, b)
	}
	tellClocks(&worlds)
	for _, p := range matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{}).Pairs {
		if len(p.Seen) == 1 && (p.Partner != nil || p.Halves < 2) {
			t.Errorf("%v: partner %+v, one of %d", p.Seen[0].Flow.Sides[0].Addr, p.Partner, p.Halves)
		}
	}
}

// TestPortsThatATranslatorUsesAgain: one public port serves many inside
// connections one after the other, so the server's capture holds many instances
// of the same addresses.
func TestPortsThatATranslatorUsesAgain(t *testing.T) {
	const n, ports = 1000, 10
	for _, share := range []float64{0, 0.1} {
		worlds := crowdThatBegins(n, n, func(i int, s *script) {
			s.w.taps[1].ends[0] = netip.AddrPortFrom(publicEnd.Addr(), uint16(61000+i%ports))
			s.now = time.Duration(i/ports) * 10 * time.Minute
		}, func(i int, s *script) { thinned(i, s, share) })
		truth := map[netip.AddrPort]tcp.Seq{}
		for _, w := range worlds {
			truth[w.taps[0].ends[0]] = w.wires[0].seq
		}
		right, wrong := 0, 0
		for _, p := range matchSides([]*side{sideOf(0, worlds...), sideOf(1, worlds...)}, Options{}).Pairs {
			if len(p.Seen) < 2 {
				continue
			}
			at := p.Seen[0].Flow.Sides[flows.Client]
			if there := p.Seen[1].Flow; clientNumbers(there, truth[at.Addr]) {
				right++
			} else {
				wrong++
			}
		}
		t.Logf("%.0f %% missing: %d right, %d wrong", 100*share, right, wrong)
		if wrong > 0 || right < n*95/100 {
			t.Errorf("%.0f %% missing: %d right, %d wrong of %d", 100*share, right, wrong, n)
		}
	}
}

// clientNumbers reports whether the client's sequence numbers begin at isn.
func clientNumbers(f *flows.Flow, isn tcp.Seq) bool {
	for i := range f.Events {
		if e := &f.Events[i]; e.From == flows.Client {
			return e.Seq.Sub(isn) >= 0 && e.Seq.Sub(isn) < 1000
		}
	}
	return f.Sides[flows.Client].SndUna.Sub(isn) < 1000
}
