package lab

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stored returns the capture sets in the tree.
func stored(t *testing.T) []string {
	t.Helper()
	notes, err := filepath.Glob(filepath.Join("..", "..", "testdata", "pcaps", "*", TruthFile))
	if err != nil || len(notes) == 0 {
		t.Fatalf("no stored captures: %v", err)
	}
	for i := range notes {
		notes[i] = filepath.Dir(notes[i])
	}
	return notes
}

func TestStoredCapturesAgreeWithTheKernelCounters(t *testing.T) {
	for _, dir := range stored(t) {
		run, client, server := load(t, dir)
		if err := run.Truth.check(client, server); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		if diff := cmp.Diff(run.Truth.Find, landmarks(client, server, run.Truth.Ends)); diff != "" {
			t.Errorf("%s: landmarks in the truth and in the captures (-truth +captures):\n%s", dir, diff)
		}
		if _, err := os.Stat(filepath.Join(dir, "NOTE.md")); err != nil {
			t.Error(err)
		}
	}
}

// A run in which a heartbeat came late tells of a busy machine.
func TestRunsWithUnevenHeartbeatsAreThrownAway(t *testing.T) {
	beating := 0
	for _, dir := range stored(t) {
		run, client, server := load(t, dir)
		captures := map[string][]Frame{AtClient: client, AtServer: server}
		if err := run.Truth.onBeat(captures); err != nil {
			t.Error(err)
		}
		for at, end := range run.Truth.Ends {
			if end.Alive == nil {
				continue
			}
			beating++
			silent := run.Truth.Moments[slices.IndexFunc(run.Truth.Moments, func(m Moment) bool { return m.What == fallsSilent })].At
			var asks []int
			for i, f := range captures[at] {
				if f.Len > 0 && f.Src.Addr().String() == end.Address && f.At.After(silent) {
					asks = append(asks, i)
				}
			}
			captures[at][asks[1]].At = captures[at][asks[1]].At.Add(offBeat)
			if err := run.Truth.onBeat(captures); err == nil {
				t.Errorf("%s: a heartbeat of the %s that came late is not noticed", run.Truth.Scenario, at)
			}
		}
	}
	if beating == 0 {
		t.Error("no heartbeats in the stored captures")
	}
}

// load reads a stored set, the clocks set right again.
func load(t *testing.T, dir string) (*Run, []Frame, []Frame) {
	t.Helper()
	run, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	frames := map[string][]Frame{}
	for at, path := range run.Captures {
		if frames[at], err = ReadPcap(path); err != nil {
			t.Fatal(err)
		}
		for i := range frames[at] {
			frames[at][i].At = frames[at][i].At.Add(-time.Duration(run.Truth.Clocks[at] * float64(time.Second)))
		}
	}
	return run, frames[AtClient], frames[AtServer]
}

func TestNoPacketOfAStoredSetTravelsForLong(t *testing.T) {
	for _, dir := range stored(t) {
		run, client, server := load(t, dir)
		for _, f := range flights(client, server, run.Truth.Ends) {
			if d := f.until.Sub(f.from); d < 0 || d > slowest {
				t.Errorf("%s: a packet sent at %s is on its way for %s", dir, f.from, d)
			}
		}
	}
}

func TestTimestampsOfStoredSetsKeepPaceWithTheClock(t *testing.T) {
	const late = 10 * time.Millisecond // from TSval's tick to the sender's capture
	for _, dir := range stored(t) {
		run, client, server := load(t, dir)
		clocks := tsClocks(client, server, run.Truth.Ends)
		for at, frames := range map[string][]Frame{AtClient: client, AtServer: server} {
			for i := range frames {
				f := &frames[i]
				c, known := clocks[sender{f.Src, f.Dst}]
				if !f.HasTS || !known {
					continue
				}
				most := late
				if f.Src.Addr().String() != run.Truth.Ends[at].Address {
					most += slowest
				}
				if off := f.At.Sub(c.at) - time.Duration(int32(f.TSval-c.val))*tsTick; off < -late || off > most {
					t.Errorf("%s: %s: frame %d is %s beside its timestamp", dir, at, i+1, off)
				}
			}
		}
	}
}

func TestUncutFramesOfStoredSetsHaveRightChecksums(t *testing.T) {
	for _, dir := range stored(t) {
		_, client, server := load(t, dir)
		n := 0
		for _, frames := range [][]Frame{client, server} {
			for i := range frames {
				f := &frames[i]
				if !f.TCP || len(f.Data) < f.Orig {
					continue
				}
				n++
				if sum := tcpSum(f); sum != 0xffff {
					t.Errorf("%s: frame %d: checksum adds up to %#x", dir, i+1, sum)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: no frame was checked", dir)
		}
	}
}

// tcpSum adds up a segment with its pseudo header, 0xffff where it is right.
func tcpSum(f *Frame) uint32 {
	be := binary.BigEndian
	ip := f.Data[etherHeader:]
	segment := ip[f.tcpAt-etherHeader : be.Uint16(ip[2:])]
	sum := uint32(6 + len(segment))
	for _, words := range [][]byte{ip[12:20], append([]byte(nil), segment...)} {
		if len(words)%2 == 1 {
			words = append(words, 0)
		}
		for i := 0; i < len(words); i += 2 {
			sum += uint32(be.Uint16(words[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum
}

func TestStretchingPutsSilenceBetweenPacketsOnly(t *testing.T) {
	base := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	busy := disjoint([]span{
		{at(0), at(50)},
		{at(2200), at(2250)},   // typed again
		{at(10200), at(10200)}, // probes of one end, each shortly before the other's
		{at(11224), at(11224)}, {at(11220), at(11220)},
		{at(12248), at(12250)}, {at(12249), at(12249)},
	})
	s := Stretching{Typing: 39 * time.Second, State: 3595 * time.Second, Idle: 7192 * time.Second, Interval: 75 * time.Second}
	got, err := s.plan(busy, []time.Time{at(10200), at(11224), at(12248)}, at(50), at(2300), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := []Insertion{
		{at(1125), 39 * time.Second},
		{at(4750), 3595 * time.Second},
		{at(8725), 3597 * time.Second},
		{at(10710), 75 * time.Second},
		{at(11736), 75 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if got, want := moved(got, at(10200)).Sub(moved(got, at(2250))), 7200*time.Second-50*time.Millisecond; got != want {
		t.Errorf("the silence lasts %s, want %s", got, want)
	}
}

func TestStretchingRefusesWhereSomethingIsOnItsWay(t *testing.T) {
	base := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	busy := []span{{base, base.Add(time.Second)}, {base.Add(1050 * time.Millisecond), base.Add(3 * time.Second)}}
	if plan, err := (Stretching{Idle: time.Hour}).plan(busy, nil, base, base, 0); err == nil {
		t.Errorf("plan = %v, want an error: 50 ms are no room", plan)
	}
}

func TestProbeShapes(t *testing.T) {
	const isn = 1000
	me, peer := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("198.51.100.1:22")
	syn := Frame{TCP: true, Src: me, Dst: peer, Seq: isn, Flags: FlagSYN}
	octet := Frame{TCP: true, Src: me, Dst: peer, Seq: isn + 1, Len: 1, Flags: FlagACK | FlagPSH}
	probe := Frame{TCP: true, Src: me, Dst: peer, Seq: isn + 1, Flags: FlagACK}
	plain := Frame{TCP: true, Src: me, Dst: peer, Seq: isn + 2, Flags: FlagACK}
	answer := Frame{TCP: true, Src: peer, Dst: me, Seq: 7, Ack: isn + 2, Flags: FlagACK}
	giveUp := Frame{TCP: true, Src: me, Dst: peer, Seq: isn + 2, Flags: FlagACK | FlagRST}
	for _, tc := range []struct {
		name   string
		frames []Frame
		want   int
	}{
		{"from the beginning", []Frame{syn, octet, plain, probe, probe}, 2},
		{"before the octet was sent it is a plain acknowledgment", []Frame{syn, probe, octet}, 0},
		{"an octet sent again is no probe", []Frame{syn, octet, octet}, 0},
		{"from the silence on, answered", []Frame{probe, answer, probe}, 2},
		{"from the silence on, given up", []Frame{probe, probe, giveUp}, 2},
	} {
		if got := ProbeShaped(tc.frames, me.Addr(), time.Time{}, time.Time{}.Add(1)); got != tc.want {
			t.Errorf("%s: %d probes, want %d", tc.name, got, tc.want)
		}
	}
}
