package pairing

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// parcel is one packet with its octets, in true time at its sender.
type parcel struct {
	at       time.Duration
	from     uint8
	flags    tcp.Flags
	seq, ack tcp.Seq
	ipid     uint16
	win      uint16
	octets   []byte
	lost     bool // between the two points
}

// session is a conversation of which the captures hold the middle, without
// timestamps.
type session struct {
	client, public netip.AddrPort
	server         netip.AddrPort
	shift          [2]uint32
	parcels        []parcel
}

// wireSize is how many octets the sessions' segments have at most.
const wireSize = 1460

// talkOctets is a session of exchanges with octets of its own, then silence and
// probes of the client, answered or lost.
func talkOctets(rng *rand.Rand, i, exchanges int, dies bool, octets func(n int) []byte) session {
	s := session{
		client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(1 + i%200)}), uint16(40000+i%7)),
		public: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(1024+i)), server: serviceAt,
		shift: [2]uint32{rng.Uint32(), rng.Uint32()},
	}
	nxt := [2]tcp.Seq{tcp.Seq(rng.Uint32()), tcp.Seq(rng.Uint32())}
	ipid := [2]uint16{uint16(rng.Uint32()), uint16(rng.Uint32())}
	now := time.Duration(rng.IntN(5000)) * time.Millisecond
	put := func(from uint8, seq tcp.Seq, data []byte, lost bool) {
		ipid[from]++
		s.parcels = append(s.parcels, parcel{at: now, from: from, flags: tcp.ACK, seq: seq, ack: nxt[1-from], ipid: ipid[from], win: 501, octets: data, lost: lost})
		now += 25 * time.Millisecond
	}
	for range exchanges {
		for from := flows.Client; from <= flows.Server; from++ {
			for part := range slices.Chunk(octets(40+rng.IntN(300)), wireSize) {
				put(from, nxt[from], part, false)
				nxt[from] = nxt[from].Add(len(part))
				now -= 25*time.Millisecond - 12*time.Microsecond
			}
			now += 25 * time.Millisecond
		}
		put(flows.Client, nxt[flows.Client], nil, false)
		now += time.Duration(rng.IntN(3000)) * time.Millisecond
	}
	for range 4 {
		now += 30 * time.Second
		put(flows.Client, nxt[flows.Client].Add(-1), nil, dies)
		if !dies {
			put(flows.Server, nxt[flows.Server], nil, false)
		}
	}
	return s
}

// taken is how a point records sessions.
type taken struct {
	beyond   bool          // the server's, beyond the translation
	since    time.Duration // it begins then
	misses   float64       // of all frames
	snap     int           // octets of payload that it keeps; 0: all
	grouped  bool          // segments in a row are put together
	seed     uint64
	timezone time.Duration // its clock
}

// together puts what one side sends in a row into one segment, as a card or a
// kernel does before a capture sees it.
func together(parcels []parcel) (out []parcel) {
	for _, p := range parcels {
		if n := len(out); n > 0 && len(p.octets) > 0 && out[n-1].from == p.from && len(out[n-1].octets) > 0 && p.at-out[n-1].at < time.Millisecond &&
			out[n-1].seq.Add(len(out[n-1].octets)) == p.seq {
			out[n-1].octets = slices.Concat(out[n-1].octets, p.octets)
			continue
		}
		out = append(out, p)
	}
	return out
}

// point reads what a point records through the flow table.
func (x taken) point(sessions []session) Point {
	rng := rand.New(rand.NewPCG(x.seed, 7))
	type frame struct {
		at time.Duration
		s  *session
		p  parcel
	}
	var frames []frame
	for i := range sessions {
		s := &sessions[i]
		parcels := s.parcels
		if x.grouped {
			parcels = together(parcels)
		}
		for _, p := range parcels {
			at := p.at
			if (p.from == flows.Client) == x.beyond {
				at += 10 * time.Millisecond
			}
			sender := (p.from == flows.Server) == x.beyond
			if at < x.since || rng.Float64() < x.misses || p.lost && !sender {
				continue
			}
			frames = append(frames, frame{at, s, p})
		}
	}
	slices.SortStableFunc(frames, func(a, b frame) int { return cmpOrd(a.at, b.at) })
	var q queue
	for n, f := range frames {
		ends, shift := [2]netip.AddrPort{f.s.client, f.s.server}, [2]uint32{}
		if x.beyond {
			ends[0], shift = f.s.public, f.s.shift
		}
		key, reversed := capture.MakeKey(ends[f.p.from], ends[1-f.p.from], 0)
		kept := f.p.octets
		if x.snap > 0 {
			kept = kept[:min(len(kept), x.snap)]
		}
		pkt := capture.Packet{Key: key, At: epoch.Add(f.at + x.timezone), Ord: tcp.Ordinal(n + 1), Proto: capture.TCP, Reversed: reversed, DataLen: uint32(len(kept))}
		pkt.Seg = tcp.Segment{Seq: f.p.seq + tcp.Seq(shift[f.p.from]), Ack: f.p.ack + tcp.Seq(shift[1-f.p.from]), Flags: f.p.flags,
			Len: uint32(len(f.p.octets)), Win: f.p.win, IPID: f.p.ipid, TTL: 64}
		if (f.p.from == flows.Client) == x.beyond {
			pkt.Seg.TTL = 60
		}
		q.add(pkt, kept)
	}
	p := Point{Name: "client.pcap", Table: &flows.Table{Options: flows.Options{Digests: true}}, Frame: func(o tcp.Ordinal) (int, uint64) { return 0, uint64(o) }}
	if x.beyond {
		p.Name = "server.pcap"
	}
	var last tcp.Instant
	for q.Read(&q.batch) == nil {
		for i := range q.batch.N {
			last = max(last, q.batch.Pkts[i].At)
		}
		p.Table.Add(&q.batch)
	}
	p.Table.Advance(last)
	return p
}

// queue is a source of packets that are in memory.
type queue struct {
	pkts   []capture.Packet
	octets [][]byte
	batch  capture.Batch
}

func (q *queue) add(p capture.Packet, octets []byte) {
	q.pkts, q.octets = append(q.pkts, p), append(q.octets, octets)
}

func (q *queue) Read(b *capture.Batch) error {
	if len(q.pkts) == 0 {
		return io.EOF
	}
	b.N, b.Buf = min(len(q.pkts), capture.BatchSize), b.Buf[:0]
	for i := range b.N {
		b.Pkts[i] = q.pkts[i]
		b.Pkts[i].Data = uint32(len(b.Buf))
		b.Buf = append(b.Buf, q.octets[i]...)
	}
	q.pkts, q.octets = q.pkts[b.N:], q.octets[b.N:]
	return nil
}

// reckonSessions holds the pairs against the sessions that they were made from.
func reckonSessions(r *Result, sessions []session) (got score) {
	truth := map[netip.AddrPort]netip.AddrPort{}
	for i := range sessions {
		truth[sessions[i].client] = sessions[i].public
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

// randomOctets are payload as encryption makes it.
func randomOctets(rng *rand.Rand) func(n int) []byte {
	return func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		return data
	}
}

// TestCrowdWithoutTimestampsInMidFlow prints the counts: no handshake, no
// timestamps, another address and port, and every sequence number shifted.
// Nothing but octets is left.
func TestCrowdWithoutTimestampsInMidFlow(t *testing.T) {
	const n = 1200
	for _, tc := range []struct {
		name      string
		near, far taken
		least     int // paired rightly
	}{
		{"both see all", taken{}, taken{}, n},
		{"the server's begins late", taken{}, taken{since: 12 * time.Second}, n * 98 / 100},
		{"a snap length of 40 octets of payload there", taken{}, taken{snap: 40}, n},
		{"a tenth of the frames missing at each", taken{misses: 0.1}, taken{misses: 0.1}, n * 95 / 100},
		{"a third of the frames missing at each", taken{misses: 0.33}, taken{misses: 0.33}, n * 60 / 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var sessions []session
			for i := range n {
				sessions = append(sessions, talkOctets(rng, i, 12+i%9, i%40 == 0, randomOctets(rng)))
			}
			tc.near.seed, tc.far.seed, tc.far.beyond, tc.far.timezone = 3, 4, true, 7*time.Second
			points := []Point{tc.near.point(sessions), tc.far.point(sessions)}
			r := Match(points, Options{})
			got := reckonSessions(r, sessions)
			t.Logf("%-48s %+v", tc.name, got)
			if got.wrong != 0 || got.right < tc.least {
				t.Errorf("%+v, want none wrong and at least %d right; notes %q", got, tc.least, r.Notes)
			}
			for _, p := range r.Pairs {
				if len(p.Seen) == 2 && p.Method != byPayload {
					t.Fatalf("paired by %s", p.Method)
				}
				for _, f := range p.Fates {
					if f.How == Lost && !f.Assumed && f.From == flows.Server && tc.near.misses == 0 {
						t.Fatalf("what the server sent is lost: %+v", f)
					}
				}
			}
		})
	}
}

// TestSessionsOfEqualOctetsAreAmbiguous: of two sessions that send the same,
// octets tell nothing.
func TestSessionsOfEqualOctetsAreAmbiguous(t *testing.T) {
	const n = 200
	rng := rand.New(rand.NewPCG(5, 6))
	var sessions []session
	for i := range n {
		same := rand.New(rand.NewPCG(uint64(i/2), 9))
		sessions = append(sessions, talkOctets(rng, i, 10, false, func(int) []byte { return randomOctets(same)(80) }))
		for k := range sessions[i].parcels {
			sessions[i].parcels[k].ipid = uint16(k + 1) // those would tell
		}
	}
	r := Match([]Point{taken{}.point(sessions), taken{beyond: true}.point(sessions)}, Options{})
	if got := reckonSessions(r, sessions); got != (score{ambiguous: 2 * n}) {
		t.Errorf("%+v, want all of %d ambiguous; notes %q", got, 2*n, r.Notes)
	}
}

// TestARelayOfOctetsIsNoTranslation: what hands on the same octets in packets
// of its own is a proxy, and its two connections are not one.
func TestARelayOfOctetsIsNoTranslation(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	s := talkOctets(rng, 0, 20, false, randomOctets(rng))
	other := s
	other.parcels = slices.Clone(s.parcels)
	for i := range other.parcels {
		other.parcels[i].ipid += 4711
	}
	near, far := taken{}.point([]session{s}), taken{beyond: true}.point([]session{other})
	for _, p := range Match([]Point{near, far}, Options{}).Pairs {
		if len(p.Seen) != 1 || p.Partner == nil || p.Partner.By != partnerByPayload {
			t.Errorf("paired by %s with a score of %v, partner %+v", p.Method, p.Score, p.Partner)
		}
	}
}

// TestOffloadAtOneEndLeavesOctetsInCommon: what one end shows as a large
// segment is many at the other.
func TestOffloadAtOneEndLeavesOctetsInCommon(t *testing.T) {
	const n = 100
	rng := rand.New(rand.NewPCG(9, 10))
	random := randomOctets(rng)
	var sessions []session
	for i := range n {
		sessions = append(sessions, talkOctets(rng, i, 8, false, func(int) []byte { return random(100 + rng.IntN(20_000)) }))
	}
	for _, tc := range []struct{ near, far bool }{{true, false}, {false, true}, {true, true}} {
		r := Match([]Point{taken{grouped: tc.near}.point(sessions), taken{grouped: tc.far, beyond: true}.point(sessions)}, Options{})
		if got := reckonSessions(r, sessions); got != (score{right: n}) {
			t.Errorf("put together at the client's %v, at the server's %v: %+v, want %d right", tc.near, tc.far, got, n)
		}
	}
}

// joined lists what was paired with what, by what and how surely, in an order
// that does not follow the points.
func joined(r *Result) (all []string) {
	for _, p := range r.Pairs {
		var seen []string
		for _, s := range p.Seen {
			seen = append(seen, s.Flow.Sides[flows.Client].Addr.String())
		}
		slices.Sort(seen)
		all = append(all, fmt.Sprintf("%v %s %.3f %.3f %d", seen, p.Method, p.Score, p.Margin, len(p.Ambiguous)))
	}
	slices.Sort(all)
	return all
}

// TestAnyStartAndLossNeverPairsOctetsWrongly draws when captures begin and what
// they miss.
func TestAnyStartAndLossNeverPairsOctetsWrongly(t *testing.T) {
	right := 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var sessions []session
		for i := range rapid.IntRange(1, 8).Draw(t, "sessions") {
			sessions = append(sessions, talkOctets(rng, i, rapid.IntRange(1, 40).Draw(t, "exchanges"), rapid.Bool().Draw(t, "dies"), randomOctets(rng)))
		}
		draw := func(name string) taken {
			return taken{since: time.Duration(rapid.IntRange(0, 40).Draw(t, name+" begins, s")) * time.Second, misses: rapid.Float64Range(0, 0.5).Draw(t, name+" misses"),
				snap: rapid.SampledFrom([]int{0, 16, 40, 100}).Draw(t, name+"'s snap"), seed: rng.Uint64()}
		}
		near, far := draw("client"), draw("server")
		far.beyond, far.timezone = true, time.Duration(rapid.IntRange(-10_000, 10_000).Draw(t, "clock"))*time.Second
		r := Match([]Point{near.point(sessions), far.point(sessions)}, Options{})
		got := reckonSessions(r, sessions)
		if got.wrong > 0 {
			t.Errorf("%+v", got)
		}
		right += got.right
		swapped := Match([]Point{far.point(sessions), near.point(sessions)}, Options{})
		if d := cmp.Diff(joined(r), joined(swapped)); d != "" {
			t.Errorf("with the captures exchanged (-want +got):\n%s", d)
		}
	})
	if right == 0 {
		t.Error("no session was ever paired: nothing was tested")
	}
}

// TestPollsOfOneKindAreNotPairedWrongly: ten connections at a time send the same
// octets in the same order with the same windows, as health checks do, and both
// captures miss frames.
func TestPollsOfOneKindAreNotPairedWrongly(t *testing.T) {
	const n = 400
	for _, tc := range []struct {
		name  string
		ids   bool
		share float64
	}{
		{"with IP IDs, 10 % missing", true, 0.1},
		{"with IP IDs, 30 % missing", true, 0.3},
		{"without, 10 % missing", false, 0.1},
		{"without, 30 % missing", false, 0.3},
		{"without, 60 % missing", false, 0.6},
	} {
		rng := rand.New(rand.NewPCG(11, 12))
		var sessions []session
		for i := range n {
			same := rand.New(rand.NewPCG(uint64(i/10), 9))
			s := talkOctets(rng, i, 6, false, func(int) []byte { return randomOctets(same)(80) })
			for k := range s.parcels {
				s.parcels[k].win = uint16(400 + k)
				if !tc.ids {
					s.parcels[k].ipid = 0
				}
			}
			sessions = append(sessions, s)
		}
		r := Match([]Point{taken{misses: tc.share, seed: 1}.point(sessions), taken{beyond: true, misses: tc.share, seed: 2}.point(sessions)}, Options{})
		got := reckonSessions(r, sessions)
		t.Logf("%-28s right %3d, wrong %d, ambiguous %d, at one point only %d", tc.name, got.right, got.wrong, got.ambiguous, got.alone)
		if got.wrong > 0 || tc.ids && got.right < n/2 {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}
