package analyzer

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/flows"
	"kaflow/tcp"
)

func TestEveryRuleSaysWhatItDetects(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range verdictRules {
		if seen[r.ID] || r.Doc == "" || r.Ask == nil {
			t.Errorf("rule %q: a second one of this id, or no text, or nothing to ask", r.ID)
		}
		seen[r.ID] = true
	}
}

// at is an instant so many seconds into a conversation.
func at(s float64) tcp.Instant { return tcp.Instant(1_700_000_000e9 + s*1e9) }

func TestTrainsOfProbes(t *testing.T) {
	client := func(s float64, k flows.Kind) flows.Event {
		return flows.Event{At: at(s), Ord: tcp.Ordinal(s * 10), From: flows.Client, Kind: k, Flags: tcp.ACK}
	}
	server := func(s float64, k flows.Kind) flows.Event {
		e := client(s, k)
		e.From = flows.Server
		return e
	}
	answered := client(60, flows.KeepaliveProbe)
	answered.AnsweredBy = 601
	f := &flows.Flow{Events: []flows.Event{
		server(1, flows.Data), client(1.1, flows.ACK),
		answered, server(60.1, flows.KeepaliveACK),
		server(90, flows.KeepaliveProbe), // no activity of the client's peer
		client(120.1, flows.KeepaliveProbe), client(195.1, flows.KeepaliveProbe), client(270.1, flows.RST),
	}}
	want := []train{{first: at(60), idle: 59 * time.Second, unanswered: []tcp.Instant{at(120.1), at(195.1)}, reset: at(270.1), alive: at(60.1)}}
	if diff := cmp.Diff(want, trains(f, flows.Client), cmp.AllowUnexported(train{})); diff != "" {
		t.Errorf("trains (-want +got):\n%s", diff)
	}
}

func TestSilenceMustOutlastByMoreThanTimersAreLate(t *testing.T) {
	for _, c := range []struct {
		silence, survived time.Duration
		want              bool
	}{
		{7200 * time.Second, 41 * time.Second, true},
		{7200 * time.Second, 7199 * time.Second, false},
		{500 * time.Millisecond, 0, false},
		{2 * time.Second, 0, true},
	} {
		if got := outlasts(c.silence, c.survived); got != c.want {
			t.Errorf("outlasts(%v, %v) = %v", c.silence, c.survived, got)
		}
	}
}

// TestSeveralDeathsProveATimer: connections that died above and lived below one
// idle age raise the cause, unless all died in one silence that they share.
func TestSeveralDeathsProveATimer(t *testing.T) {
	dead := func(from, to float64) *brief {
		return &brief{verdict: SilentDrop, cause: "idle-expiry", proven: true, killed: time.Duration((to - from) * 1e9), from: at(from), at: at(to)}
	}
	alive := &brief{verdict: Healthy, survived: 60 * time.Second}
	for _, c := range []struct {
		name  string
		cases []*brief
		want  bool
	}{
		{"one after the other", []*brief{dead(0, 400), dead(1000, 1400), alive}, true},
		{"all in one silence", []*brief{dead(0, 400), dead(10, 420), alive}, false},
		{"nobody lived", []*brief{dead(0, 400), dead(1000, 1400)}, false},
		{"one alone", []*brief{dead(0, 400), alive}, false},
	} {
		(&desk{}).weigh(c.cases)
		if got := c.cases[0].causeWhy != ""; got != c.want {
			t.Errorf("%s: raised %v, want %v", c.name, got, c.want)
		}
	}
}
