package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/traffic"
)

// twoSides writes short connections of so many packets as three captures: before a router, behind it, and
// one of both.
func twoSides(t *testing.T, packets int) (before, behind, both string) {
	t.Helper()
	var b bytes.Buffer
	if _, err := traffic.Write(&b, traffic.Config{Shape: traffic.Churn, Packets: packets, Flows: 100}); err != nil {
		t.Fatal(err)
	}
	const record, ttl, sum = 16, 14 + 8, 14 + 10 // octets of a record's header, and places in a frame
	here := b.Bytes()
	there, joined := slices.Clone(here[:24]), slices.Clone(here[:24])
	for at := 24; at < len(here); {
		end := at + record + int(binary.LittleEndian.Uint32(here[at+8:]))
		routed := slices.Clone(here[at:end])
		binary.LittleEndian.PutUint32(routed[4:], binary.LittleEndian.Uint32(routed[4:])+2) // microseconds; the generator's are a multiple of ten
		frame := routed[record:]
		frame[ttl]--
		right := uint32(binary.BigEndian.Uint16(frame[sum:])) + 1<<8
		binary.BigEndian.PutUint16(frame[sum:], uint16(right+right>>16))
		there = append(there, routed...)
		joined = append(append(joined, here[at:end]...), routed...)
		at = end
	}
	dir := t.TempDir()
	before, behind, both = filepath.Join(dir, "before.pcap"), filepath.Join(dir, "behind.pcap"), filepath.Join(dir, "both.pcap")
	for path, octets := range map[string][]byte{before: here, behind: there, both: joined} {
		if err := os.WriteFile(path, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return before, behind, both
}

// A capture of both sides of a router comes to what one of each side comes to, be it so
// small that it was read when that shows or larger.
func TestBothSidesAreAsTwoCaptures(t *testing.T) {
	for _, packets := range []int{flows.Learned / 4, 3 * flows.Learned} {
		before, behind, both := twoSides(t, packets)
		totals := func(paths ...string) (byVerdict map[string]int) {
			var out, errs bytes.Buffer
			if status := run(append([]string{"--json"}, paths...), nil, &out, &errs); status != statusDone {
				t.Fatalf("%v: status %d\n%s", paths, status, &errs)
			}
			if parted := strings.Contains(errs.String(), "before and after a router"); parted != (len(paths) == 1) {
				t.Fatalf("%v: %s", paths, &errs)
			}
			var r struct {
				Totals struct {
					ByVerdict map[string]int `json:"by_verdict"`
				}
			}
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			return r.Totals.ByVerdict
		}
		got, want := totals(both), totals(before, behind)
		if !maps.Equal(got, want) || len(want) == 0 {
			t.Errorf("%d packets: %v, want %v", packets, got, want)
		}
	}
}

// impatient is done once it was asked so often.
type impatient struct {
	context.Context
	left int
}

func (c *impatient) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// What was read of both sides of a router until the user lost patience is told, though the
// hosts of either side were still being learned.
func TestBothSidesInterrupted(t *testing.T) {
	const batches = 50
	_, _, both := twoSides(t, 2*flows.Learned)
	var errs bytes.Buffer
	a := &app{stderr: &errs, page: sheet{to: io.Discard}}
	parted := a.part(&impatient{t.Context(), batches}, &point{name: "both.pcap", paths: []string{both}}, selection{})
	if len(parted) != 2 {
		t.Fatalf("%d vantage points: %s", len(parted), &errs)
	}
	for _, p := range parted {
		if frames := p.Files[0].Frames; frames != batches*capture.BatchSize || p.Table.Streams() == 0 {
			t.Errorf("%s: %d frames, %d flows; want %d frames", p.Name, frames, p.Table.Streams(), batches*capture.BatchSize)
		}
	}
	if parted[0].Table.Now() != parted[1].Table.Now() {
		t.Errorf("the sides end at %d and %d", parted[0].Table.Now(), parted[1].Table.Now())
	}
}
