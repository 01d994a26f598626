package main

import (
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/lab"
	"kaflow/pairing"
	"kaflow/tcp"
)

// pointOf reads a capture through the flow table, as analyze does.
func pointOf(t *testing.T, path string) pairing.Point {
	t.Helper()
	set, err := capture.Open(capture.Options{}, filepath.Base(path), path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	table := &flows.Table{Options: flows.Options{Digests: true}}
	var batch capture.Batch
	var last tcp.Instant
	for {
		err := set.Read(&batch)
		for i := range batch.N {
			last = max(last, batch.Pkts[i].At)
		}
		table.Add(&batch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	table.Advance(last)
	return pairing.Point{Name: filepath.Base(path), Table: table, Files: set.Files(), Frame: set.Frame, Holes: set.Holes()}
}

// fateCounts are what became of single segments: by the truth, and by what was
// said.
type fateCounts struct{ crossed, lost, unknowable, falseLoss, falseCrossing, missed int }

// judgeFates holds the fate of every single segment against the other end's
// capture: what is there must not be called lost, what crossed must be that very
// frame, and what was dropped must not have crossed.
func judgeFates(t *testing.T, set *lab.Run) {
	t.Helper()
	var frames [2][]lab.Frame
	paths := []string{set.Captures[lab.AtClient], set.Captures[lab.AtServer]}
	for k, path := range paths {
		var err error
		if frames[k], err = lab.ReadPcap(path); err != nil {
			t.Fatal(err)
		}
	}
	arrived := [2][]bool{lab.Crossed(frames[0], frames[1]), lab.Crossed(frames[1], frames[0])}
	r := pairing.Match([]pairing.Point{pointOf(t, paths[0]), pointOf(t, paths[1])}, pairing.Options{})
	var got fateCounts
	for _, p := range r.Pairs {
		for i := range p.Fates {
			f := &p.Fates[i]
			if f.Count != 1 || f.Sent.Frame == 0 {
				continue
			}
			x := f.Between[0]
			sent, there := &frames[x][f.Sent.Frame-1], arrived[x][f.Sent.Frame-1]
			switch f.How {
			case pairing.Lost:
				got.lost++
				if there {
					got.falseLoss++
					t.Errorf("%s frame %d is in the other capture, and called lost: %+v", filepath.Base(paths[x]), f.Sent.Frame, *f)
				}
			case pairing.Crossed:
				got.crossed++
				switch {
				case !there && !set.Truth.Path.Offload:
					got.falseCrossing++
					t.Errorf("%s frame %d was dropped, and is said to have crossed: %+v", filepath.Base(paths[x]), f.Sent.Frame, *f)
				case f.Seen.Frame != 0 && !set.Truth.Path.Offload && !lab.Same(sent, &frames[1-x][f.Seen.Frame-1]):
					got.falseCrossing++
					t.Errorf("%s frame %d is taken for frame %d of the other: %+v", filepath.Base(paths[x]), f.Sent.Frame, f.Seen.Frame, *f)
				}
			default:
				got.unknowable++
				if !there {
					got.missed++
				}
			}
		}
	}
	for _, c := range r.Clocks { // all captures of a lab have one clock, but for an offset
		if c.Stamps.Flows > 0 {
			t.Logf("the timestamps of %d senders tell of a rate of %.1f ± %.1f ppm", c.Stamps.Flows, c.Stamps.PPM, c.Stamps.Err)
			if math.Abs(c.Stamps.PPM) > c.Stamps.Err {
				t.Errorf("the timestamps of %d senders tell of a rate of %.1f ± %.1f ppm between equal clocks", c.Stamps.Flows, c.Stamps.PPM, c.Stamps.Err)
			}
		}
	}
	t.Logf("fates of single segments: %d crossed, %d lost, %d not known (of these %d were dropped); false losses %d, false crossings %d",
		got.crossed, got.lost, got.unknowable, got.missed, got.falseLoss, got.falseCrossing)
	// What was repeated and acknowledged later is not told apart: only what
	// nothing answered must be called lost.
	unanswered := !slices.ContainsFunc(set.Truth.Flows, func(f lab.Flow) bool { return f.Expect.Verdict != "silent-drop" })
	if unanswered && set.Truth.Path.Died == "both" && set.Truth.Path.Control == "" && got.lost < set.Truth.Path.Dropped*9/10 && handshakes(frames) {
		t.Errorf("%d segments are called lost, %d were dropped", got.lost, set.Truth.Path.Dropped)
	}
}

// handshakes reports whether both captures show connections from their
// beginnings.
func handshakes(frames [2][]lab.Frame) bool {
	syn := func(f lab.Frame) bool { return f.TCP && f.Flags&lab.FlagSYN != 0 }
	return slices.ContainsFunc(frames[0], syn) && slices.ContainsFunc(frames[1], syn)
}

// judgeAny asks about captures on all interfaces of the client and of the router,
// with cooked headers, against a server's capture whose frames carry VLAN tags.
func judgeAny(t *testing.T, set *lab.Run) {
	t.Helper()
	if set.Captures[lab.AtClientAny] == "" {
		return
	}
	frames, err := lab.ReadPcap(set.Captures[lab.AtServer])
	if err != nil {
		t.Fatal(err)
	}
	tagged := filepath.Join(t.TempDir(), "server.pcap")
	if err := lab.WritePcap(tagged, lab.Tagged(frames, 42), 262_144); err != nil {
		t.Fatal(err)
	}
	for _, captures := range [][]string{
		{set.Captures[lab.AtClientAny], tagged},
		{tagged, set.Captures[lab.AtClientAny]},
		{set.Captures[lab.AtClientAny], set.Captures[lab.AtRouterAny], tagged},
		{set.Captures[lab.AtRouterAny]},
	} {
		answer := ask(t, captures...)
		for _, f := range set.Truth.Flows {
			judgeFlow(t, set, answer, f, "on all interfaces, tagged at the server: "+filepath.Base(captures[0]))
		}
	}
}

// judgePartners counts the connections through a proxy whose partner is named
// rightly: none may be named wrongly.
func judgePartners(t *testing.T, set *lab.Run) {
	t.Helper()
	if len(set.Truth.Partners) == 0 {
		return
	}
	truth := map[string]string{}
	for inside, outside := range set.Truth.Partners {
		truth[inside], truth[outside] = outside, inside
	}
	for _, order := range [][]string{{set.Captures[lab.AtClient], set.Captures[lab.AtServer]}, {set.Captures[lab.AtServer], set.Captures[lab.AtClient]}} {
		right, wrong, open, by := 0, 0, 0, map[string]int{}
		for _, f := range ask(t, order...).Flows {
			switch p := f.Partner; {
			case p == nil || p.Client == nil:
				open++
			case truth[f.Client] == *p.Client:
				right++
				by[p.By]++
			default:
				wrong++
			}
		}
		t.Logf("%v: of %d halves %d partners named rightly, %d wrongly, %d left open; by %v", bases(order), len(truth), right, wrong, open, by)
		if wrong > 0 || right < len(truth)*8/10 {
			t.Errorf("%v: of %d halves %d partners named rightly, %d wrongly, %d left open", bases(order), len(truth), right, wrong, open)
		}
	}
}

// TestRemovedFramesAreNotProvenLost takes frames out of the server's captures of
// all stored sets: what had arrived there must not be called lost for sure.
func TestRemovedFramesAreNotProvenLost(t *testing.T) {
	removed, lost, assumed, wrong := 0, 0, 0, 0
	for _, set := range storedSets(t) {
		here, err := lab.ReadPcap(set.Captures[lab.AtClient])
		if err != nil {
			t.Fatal(err)
		}
		there, err := lab.ReadPcap(set.Captures[lab.AtServer])
		if err != nil {
			t.Fatal(err)
		}
		arrived := lab.Crossed(here, there)
		for seed := range uint64(24) {
			share := []float64{0.02, 0.1, 0.3, 0.6}[seed%4]
			left := lab.Thinned(there, seed, share)
			removed += len(there) - len(left)
			path := filepath.Join(t.TempDir(), "server.pcap")
			if err := lab.WritePcap(path, left, 65535); err != nil {
				t.Fatal(err)
			}
			r := pairing.Match([]pairing.Point{pointOf(t, set.Captures[lab.AtClient]), pointOf(t, path)}, pairing.Options{})
			for _, p := range r.Pairs {
				for i := range p.Fates {
					f := &p.Fates[i]
					if f.How != pairing.Lost || f.Count != 1 || f.Between[0] != 0 {
						continue
					}
					lost++
					switch came := arrived[f.Sent.Frame-1]; {
					case came && f.Assumed:
						assumed++
					case came:
						wrong++
						t.Errorf("%s, %.0f %% missing, seed %d: frame %d arrived, and is called lost: %+v", set.Truth.Scenario, 100*share, seed, f.Sent.Frame, *f)
					}
				}
			}
		}
	}
	t.Logf("%d frames removed; %d fates lost, of these %d wrongly and assumed, %d wrongly and sure", removed, lost, assumed, wrong)
	if removed < 500 || lost < 500 {
		t.Errorf("%d frames removed, %d fates lost: too few to tell", removed, lost)
	}
}
