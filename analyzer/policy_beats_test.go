package analyzer

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kaflow/flows"
)

func TestIntervalsThatSSHCanBeSetTo(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name     string
		side     uint8
		min, max time.Duration
		want     []int // seconds
	}{
		{"the client asks on time", flows.Client, 15000 * ms, 15002 * ms, []int{15}},
		{"once a second late", flows.Client, 15000 * ms, 16000 * ms, []int{15}},
		{"a server asks at every second interval, or its interval is twice as long", flows.Server, 30020 * ms, 30025 * ms, []int{30, 15}},
		{"a server asks now at each interval and now at every second one", flows.Server, 15010 * ms, 30020 * ms, []int{15}},
		{"no client does", flows.Client, 15010 * ms, 30020 * ms, nil},
		{"a server at an odd pace", flows.Server, 15010 * ms, 15020 * ms, []int{15}},
		{"no rhythm of ssh", flows.Client, 15400 * ms, 19000 * ms, nil},
	} {
		var got []int
		for _, v := range aliveIntervals(c.side, flows.Range{Min: c.min, Max: c.max, Known: true}) {
			got = append(got, int(v/time.Second))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheMostFrequentPolicyKeepsThePathAlive(t *testing.T) {
	tcp := Policy{Mechanism: TCPKeepalive, Idle: time.Minute}
	beat := Policy{Mechanism: SSHServerAlive, ObservedInterval: flows.Range{Min: 15 * time.Second, Max: 15 * time.Second, Known: true}}
	unknown := Policy{Mechanism: TCPKeepalive}
	for _, c := range []struct {
		name string
		all  []Policy
		want int // -1 none
		died string
	}{
		{"heartbeats beside keepalives", []Policy{tcp, beat}, 1, Healthy},
		{"the other way round", []Policy{beat, tcp}, 0, Healthy},
		{"both alike", []Policy{tcp, tcp}, -1, Healthy},
		{"one alone", []Policy{beat}, -1, Healthy},
		{"one of unknown pace", []Policy{beat, unknown}, -1, Healthy},
		{"three", []Policy{tcp, tcp, beat}, 2, Healthy},
		{"the state was lost while it asked", []Policy{tcp, beat}, -1, SilentDrop},
		{"it may have been", []Policy{tcp, beat}, -1, Undecided},
	} {
		nameRefresher(c.all, &Verdict{ID: c.died})
		for i := range c.all {
			if named := strings.Contains(c.all[i].Remark, "keeps the state"); named != (i == c.want) {
				t.Errorf("%s: policy %d: %q", c.name, i, c.all[i].Remark)
			}
		}
	}
}
