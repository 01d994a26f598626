package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kaflow/internal/dialogue"
	"kaflow/internal/lab"
)

// conversation is a text and what must be said of its first flow: verdict,
// confidence, cause and its confidence, with both captures (in either order),
// and with the client's and the server's alone. "-" leaves a place open; of one
// end alone "not X" forbids a confident X.
type conversation struct {
	name, text           string
	both, client, server string
}

// judge compares what is said of a conversation with what must be, and returns the captures
// of both ends.
func (c *conversation) judge(t *testing.T) (client, server string) {
	t.Helper()
	client, server = ends(t, c.text)
	expect(t, "both", c.both, client, server)
	expect(t, "both, swapped", c.both, server, client)
	c.judgeReclocked(t, client, server)
	expect(t, "client alone", c.client, client)
	expect(t, "server alone", c.server, server)
	return client, server
}

// judgeReclocked holds what is said with both captures against what is said where the server's clock
// is ahead: no verdict may hang on two clocks that show the same time, but where nothing that both
// hold compares them.
func (c *conversation) judgeReclocked(t *testing.T, client, server string) {
	t.Helper()
	if c.both == "-" {
		return
	}
	frames, err := lab.ReadPcap(server)
	if err != nil {
		t.Fatal(err)
	}
	near, err := lab.ReadPcap(client)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(near, func(x lab.Frame) bool {
		return x.TCP && slices.ContainsFunc(frames, func(y lab.Frame) bool { return x.Src == y.Src && x.Seq == y.Seq && x.Flags == y.Flags })
	}) {
		return
	}
	ahead := filepath.Join(t.TempDir(), filepath.Base(server))
	if err := lab.WritePcap(ahead, lab.Reclocked(frames, 100250*time.Millisecond, 0, time.Time{}, 0), 65535); err != nil {
		t.Fatal(err)
	}
	straight, got := sessionOf(t, "both", client, server), sessionOf(t, "the server's clock ahead", client, ahead)
	if straight == nil || got == nil {
		return
	}
	if a, b := straight.Verdict, got.Verdict; a.ID != b.ID || a.Confidence != b.Confidence || a.Cause != b.Cause || a.CauseConfidence != b.CauseConfidence {
		t.Errorf("the server's clock ahead: %s %s %s %s, want %s %s %s %s", b.ID, b.Confidence, b.Cause, b.CauseConfidence, a.ID, a.Confidence, a.Cause, a.CauseConfidence)
	}
}

// ends writes what the two ends of a conversation record.
func ends(t *testing.T, text string) (client, server string) {
	t.Helper()
	script := parsed(t, text)
	return recorded(t, script, dialogue.Client), recorded(t, script, dialogue.Server)
}

func parsed(t *testing.T, text string) *dialogue.Script {
	t.Helper()
	script, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// holdsWords compares a report with the words wanted, or with "!" forbidden.
func holdsWords(t *testing.T, which, report string, want []string) {
	t.Helper()
	for _, w := range want {
		text, forbidden := strings.CutPrefix(w, "!")
		if strings.Contains(report, text) == forbidden {
			t.Errorf("%s: want %q in\n%s", which, w, report)
		}
	}
}

// expect compares what is said of the session with the words wanted.
func expect(t *testing.T, which, want string, captures ...string) {
	t.Helper()
	if want == "-" {
		return
	}
	f := sessionOf(t, which, captures...)
	if f == nil {
		return
	}
	v := f.Verdict
	judgeReasons(t, v.ID, f.Hypotheses, which)
	got := strings.Join(strings.Fields(v.ID+" "+v.Confidence+" "+v.Cause+" "+v.CauseConfidence), " ")
	if forbidden, ok := strings.CutPrefix(want, "not "); ok {
		if v.ID == forbidden && (v.Confidence == "likely" || v.Confidence == "proven") {
			t.Errorf("%s: %s, and nothing shows that", which, got)
		}
		return
	}
	if got != want && !strings.HasPrefix(got, want+" ") {
		t.Errorf("%s: %s, want %s", which, got, want)
	}
}

// sessionOf returns what is said of the session, C's connection; nil, and the test fails,
// where nothing is.
func sessionOf(t *testing.T, which string, captures ...string) *saidFlow {
	t.Helper()
	flows := ask(t, captures...).Flows
	i := slices.IndexFunc(flows, func(f saidFlow) bool { return f.Client == "192.0.2.1:40000" })
	if i < 0 {
		t.Errorf("%s: nothing is said of the session", which)
		return nil
	}
	return &flows[i]
}
