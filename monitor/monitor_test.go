package monitor_test

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/internal/dialogue"
	"kaflow/monitor"
	"kaflow/render"
	"kaflow/tcp"
)

const opening = `
0     C > S SYN     seq 99  mss 1460 sackok wscale 7
+10ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok wscale 7
+1ms  C > S ACK     seq 100 ack 900
+1ms  C > S PSH,ACK seq 100 ack 900 data "hello"
+10ms S > C ACK     seq 900 ack 105
`

// watched plays a conversation to an engine, as the client's capture has it,
// and lets so much time go by behind it.
func watched(t *testing.T, text string, o monitor.Options, size int, behind time.Duration) []monitor.Event {
	t.Helper()
	var events []monitor.Event
	o.Emit = func(ev monitor.Event) { events = append(events, ev) }
	played(t, text, o, size, behind)
	return events
}

// played returns the engine to which a conversation was played.
func played(t *testing.T, text string, o monitor.Options, size int, behind time.Duration) *monitor.Engine {
	t.Helper()
	s, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	source, err := s.Source("client", size)
	if err != nil {
		t.Fatal(err)
	}
	e := monitor.New(o, func() []capture.File { return nil }, nil)
	var b capture.Batch
	for source.Read(&b) != io.EOF {
		e.Add(&b)
	}
	for now, end := e.Table.Now(), e.Table.Now().Add(behind); now < end; {
		now = min(now.Add(500*time.Millisecond), end)
		e.Advance(now)
	}
	return e
}

func whats(events []monitor.Event) (out []string) {
	for _, ev := range events {
		what := ev.What
		if ev.Verdict != nil {
			what += " " + ev.Verdict.ID
		}
		out = append(out, what)
	}
	return out
}

const probesInVain = opening + `
drop both
+60s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
`

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          monitor.Options
		behind     time.Duration
		want       []string
	}{
		{"answered probes are no event", opening + "+60s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n", monitor.Options{}, time.Minute, []string{"seen"}},
		{"probes in vain", probesInVain, monitor.Options{}, time.Minute, []string{"seen", "probe-lost", "probe-lost", "probe-lost", "died undecided"}},
		{"not yet dead", probesInVain, monitor.Options{}, 5 * time.Second, []string{"seen", "probe-lost", "probe-lost"}},
		{"one lost, the next answered", opening + "+60s C > S ACK seq 104 ack 900 lost\n+10s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n+60s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n",
			monitor.Options{}, time.Minute, []string{"seen", "probe-lost", "recovered"}},
		{"silent for most of what the path allows, behind a probe that was lost", opening + "drop both\n+60s C > S ACK seq 104 ack 900\n",
			monitor.Options{PathLimit: 100 * time.Second}, 3 * time.Minute, []string{"seen", "probe-lost", "at-risk"}},
		{"silent for most of what the path allows", opening, monitor.Options{PathLimit: 100 * time.Second}, 3 * time.Minute, []string{"seen", "at-risk"}},
		{"keepalives before the path's limit are no risk, once two of them showed their pace", opening + strings.Repeat("+300s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n", 4),
			monitor.Options{PathLimit: 350 * time.Second}, 290 * time.Second, []string{"seen", "at-risk", "at-risk"}},
		{"dead, and then it speaks again", probesInVain + "+60s C > S ACK seq 104 ack 900\ndrop nothing\n+5s S > C PSH,ACK seq 900 ack 105 len 7\n+11ms C > S ACK seq 105 ack 907\n",
			monitor.Options{}, time.Minute, []string{"seen", "probe-lost", "probe-lost", "probe-lost", "died undecided", "recovered"}},
		{"closed", opening + "+1s C > S FIN,ACK seq 105 ack 900\n+10ms S > C FIN,ACK seq 900 ack 106\n+1ms C > S ACK seq 106 ack 901\n", monitor.Options{}, time.Minute, []string{"seen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 64} {
				if diff := cmp.Diff(c.want, whats(watched(t, c.text, c.o, size, c.behind))); diff != "" {
					t.Errorf("in batches of %d (-want +got):\n%s", size, diff)
				}
			}
		})
	}
}

// Once all is told of a probe that was lost, nothing is looked at until something comes.
func TestLostProbeIsLookedAtOnce(t *testing.T) {
	o := monitor.Options{Emit: func(monitor.Event) {}}
	e := played(t, opening+"drop both\n+60s C > S ACK seq 104 ack 900\n", o, 64, time.Minute)
	now := e.Table.Now()
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		e.Advance(now)
	}); n > 0 {
		t.Errorf("%v allocations for each second that goes by", n)
	}
}

// What a warning says of keepalives is what was seen of them.
func TestRiskTellsWhatKeepalivesDid(t *testing.T) {
	const probe, answer = "+60s C > S ACK seq 104 ack 900\n", "+10ms S > C ACK seq 900 ack 105\n"
	for text, want := range map[string]string{
		opening:                         "no keepalive was seen so far",
		opening + "drop both\n" + probe: "no keepalive was answered so far",
		opening + probe + answer:        "how often keepalives come is not known yet",
	} {
		events := watched(t, text, monitor.Options{PathLimit: 61 * time.Second}, 64, time.Minute)
		if last := events[len(events)-1]; last.What != monitor.AtRisk || !strings.Contains(last.Says, want) {
			t.Errorf("%s: %s %q, want %q", text, last.What, last.Says, want)
		}
	}
}

// A death is told within two seconds of the end of the last probe's interval.
func TestDeathIsToldInTime(t *testing.T) {
	for behind := time.Second; behind < time.Minute; behind += time.Second {
		events := watched(t, probesInVain, monitor.Options{}, 64, behind)
		if died := events[len(events)-1].What == monitor.Died; died {
			if behind > 10*time.Second+3*time.Second {
				t.Errorf("told %v after the last probe", behind)
			}
			return
		}
	}
	t.Error("never told")
}

func TestWriters(t *testing.T) {
	events := watched(t, probesInVain, monitor.Options{}, 64, time.Minute)
	events = append(events, monitor.Event{At: tcp.Instant(1), What: monitor.NotObserved, Says: "\x1b[2J\u202e"})
	var plain, lines bytes.Buffer
	write, encode := monitor.Plain(&plain, render.Options{ASCII: true}), monitor.NDJSON(&lines, "x\x1b")
	for _, ev := range events {
		if err := write(ev); err != nil {
			t.Fatal(err)
		}
		if err := encode(ev); err != nil {
			t.Fatal(err)
		}
	}
	if line, _, _ := strings.Cut(plain.String(), "\n"); !strings.Contains(line, " -> ") || strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
		t.Errorf("not in ASCII: %q", line)
	}
	for _, out := range []string{plain.String(), lines.String()} {
		if strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("something raw came out: %q", out)
		}
		if n := strings.Count(out, "\n"); n != len(events) {
			t.Errorf("%d lines for %d events", n, len(events))
		}
	}
	for line := range strings.Lines(lines.String()) {
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc["schema"] != "kaflow/1" || doc["type"] != "event" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// What left the table is forgotten, however many come.
func TestMemoryFollowsTheTable(t *testing.T) {
	e := monitor.New(monitor.Options{MaxFlows: 50, Emit: func(monitor.Event) {}}, func() []capture.File { return nil }, nil)
	var b capture.Batch
	at := tcp.Instant(1_700_000_000e9)
	for i := range 20_000 {
		at = at.Add(10 * time.Millisecond)
		b.Pkts[0] = capture.Packet{At: at, Ord: tcp.Ordinal(i + 1), Proto: capture.TCP,
			Key: capture.Key{Lo: capture.V4Words(1), Hi: capture.V4Words(2), Ports: uint32(i%60_000)<<16 | 80},
			Seg: tcp.Segment{Seq: tcp.Seq(i), Flags: tcp.SYN, Win: 9, TTL: 64}}
		b.N = 1
		e.Add(&b)
	}
	if n := e.Watched(); n > 2000 {
		t.Errorf("%d connections are remembered, the table holds %d", n, e.Table.Live())
	}
}

// A screen's rows: the most endangered first, with what will come first, the
// next probe or the limit of the path.
func TestRows(t *testing.T) {
	keepalives := strings.Repeat("+300s C > S ACK seq 104 ack 900\n+10ms S > C ACK seq 900 ack 105\n", 4)
	for _, c := range []struct {
		name, text string
		limit      time.Duration
		behind     time.Duration
		state      string
		says       string
	}{
		{"probes before the limit", opening + keepalives, 350 * time.Second, 100 * time.Second, "alive", "idle 1m40s of 5m50s, next probe in 3m20s"},
		{"probes behind the limit", opening + keepalives, 200 * time.Second, 100 * time.Second, "alive", "will die: idle 1m40s of 3m20s, next probe in 3m20s"},
		{"no probes", opening, 200 * time.Second, 170 * time.Second, "at-risk", "will die: idle 2m50s of 3m20s, no keepalive was seen so far"},
		{"a lost probe", probesInVain, 0, 5 * time.Second, "failing", "a keepalive probe got no answer"},
		{"dead", probesInVain, 0, time.Minute, "dead", "After 1m00s of silence"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := played(t, c.text, monitor.Options{PathLimit: c.limit, Emit: func(monitor.Event) {}}, 64, c.behind)
			rows := e.Rows(10)
			if len(rows) != 1 || rows[0].State != c.state || !strings.HasPrefix(rows[0].Says, c.says) {
				t.Errorf("rows %+v, want %s: %s", rows, c.state, c.says)
			}
			if n := e.States()[c.state]; n != 1 {
				t.Errorf("states %v", e.States())
			}
		})
	}
}

// Of what happened while packets were dropped nothing is said: a probe whose
// answer may have come then is not lost, and does not count for a death.
func TestNoVerdictAcrossDrops(t *testing.T) {
	const probes = opening + `
+60s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
+10s  C > S ACK seq 104 ack 900
`
	for _, c := range []struct {
		name     string
		from, to time.Duration // of the drops, after the beginning
		want     string
	}{
		{"no drops", 0, 0, "seen probe-lost probe-lost probe-lost probe-lost probe-lost died"},
		{"before the probes", 30 * time.Second, 40 * time.Second, "seen not-observed probe-lost probe-lost probe-lost probe-lost probe-lost died"},
		{"during all of them", 55 * time.Second, 130 * time.Second, "seen not-observed"},
		{"during the last two", 95 * time.Second, 130 * time.Second, "seen not-observed probe-lost probe-lost probe-lost"},
		{"during the first", 55 * time.Second, 65 * time.Second, "seen not-observed probe-lost probe-lost probe-lost probe-lost died"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := dialogue.Parse(probes)
			if err != nil {
				t.Fatal(err)
			}
			source, err := s.Source("client", 1)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			e := monitor.New(monitor.Options{Emit: func(ev monitor.Event) {
				if told = append(told, ev.What); ev.What == monitor.Died && ev.Verdict.ID == "capture-gap" {
					t.Error("a gap of the capture is told as a death")
				}
			}}, func() []capture.File { return nil }, nil)
			var b capture.Batch
			var begin tcp.Instant
			noted := c.to == 0
			for source.Read(&b) != io.EOF {
				if begin == 0 {
					begin = b.Pkts[0].At
				}
				// It is noticed with the first packet behind its beginning.
				if !noted && b.Pkts[0].At >= begin.Add(c.from) {
					noted = true
					b.Holes = []capture.Interval{{From: begin.Add(c.from), To: begin.Add(c.to), Why: capture.WhyDropped}}
				}
				e.Add(&b)
			}
			for end := e.Table.Now().Add(time.Minute); e.Table.Now() < end; {
				e.Advance(e.Table.Now().Add(500 * time.Millisecond))
			}
			slices.Sort(told[1:]) // which of two at one time comes first is not the point
			want := strings.Fields(c.want)
			slices.Sort(want[1:])
			if strings.Join(told, " ") != strings.Join(want, " ") {
				t.Errorf("told %v, want %v", told, want)
			}
		})
	}
}

// What dies or hangs without a probe is told, too.
func TestDeathsWithoutProbes(t *testing.T) {
	const again = "C > S PSH,ACK seq 105 ack 900 data \"more\"\n"
	const unacknowledged = opening + "drop both\n+60s " + again + "+300ms " + again + "+600ms " + again + "+1200ms " + again + "+2400ms " + again
	for _, c := range []struct {
		name, text string
		behind     time.Duration
		want       []string
	}{
		{"data that is not acknowledged is a risk", unacknowledged, time.Second, []string{"seen", "at-risk"}},
		{"and a death when it is sent no more", unacknowledged, 10 * time.Second, []string{"seen", "at-risk", "died undecided"}},
		{"unless it is acknowledged late", unacknowledged + "drop nothing\n+4s S > C ACK seq 900 ack 109\n", 10 * time.Second, []string{"seen", "at-risk", "recovered"}},
		{"sent again once, acknowledged", opening + "+60s " + again + "+300ms " + again + "+10ms S > C ACK seq 900 ack 109\n", time.Minute, []string{"seen"}},
		{"SYNs that nobody answers", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+2s C > S SYN seq 99\n+4s C > S SYN seq 99\n", 30 * time.Second, []string{"seen", "died not-established"}},
		{"SYNs that may yet be answered", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+2s C > S SYN seq 99\n+4s C > S SYN seq 99\n", 5 * time.Second, []string{"seen"}},
		{"a SYN that was sent twice", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+10ms S > C SYN,ACK seq 899 ack 100\n+1ms C > S ACK seq 100 ack 900\n", time.Minute, []string{"seen"}},
		{"a refused connection", "0 C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 100\n", time.Minute, []string{"seen", "died not-established"}},
		{"a window that stays shut", opening + stall, time.Second, []string{"seen", "at-risk receiver-stalled"}},
		{"a window that opens again", opening + stall + "+1s S > C ACK seq 900 ack 105 win 500\n", time.Second, []string{"seen", "at-risk receiver-stalled", "recovered"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := whats(watched(t, c.text, monitor.Options{}, 1, c.behind))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

// How long data has been sent again counts from its first sending to the last:
// the wait for the next time is no part of it.
func TestRepetitionsTakeTheirOwnTime(t *testing.T) {
	const again = "C > S PSH,ACK seq 105 ack 900 data \"more\"\n"
	events := watched(t, opening+"drop both\n+1s "+again+"+1s "+again+"+1s "+again+"+1m "+again+"+2m "+again, monitor.Options{}, 1, 0)
	const want = "the client has sent the same 5 times in 3m2s, and gets no acknowledgment"
	if got := events[len(events)-1]; got.What != monitor.AtRisk || got.Says != want {
		t.Errorf("told %s, %q, want %q", got.What, got.Says, want)
	}
}

const stall = `
+1ms  S > C ACK seq 900 ack 105 win 0
+300ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+600ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+1200ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+2400ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+4800ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+9600ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
+19200ms C > S ACK seq 104 ack 900
+1ms  S > C ACK seq 900 ack 105 win 0
`
