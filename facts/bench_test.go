package facts_test

import (
	"testing"
	"time"

	"kaflow/facts"
)

// A report asks these once per end of every flow, of which there can be a
// million.
func BenchmarkPolicyOfOneEnd(b *testing.B) {
	seen := facts.Observed{Idle: 7331 * time.Second, IntervalMin: 75776 * time.Millisecond, Count: 9, OctetsKnown: true}
	b.ReportAllocs()
	for b.Loop() {
		facts.Candidates(seen.Idle, time.Millisecond)
		facts.Candidates(seen.IntervalMin, time.Millisecond)
		facts.Resembles(seen)
	}
}
