package screen

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/rivo/uniseg"

	"kaflow/flows"
	"kaflow/monitor"
)

// sample is a frame with a connection in each state and many that are alive.
func sample() *Frame {
	f := &Frame{Title: "eth0", At: time.Unix(1_700_000_000, 0).UTC(), States: map[string]int{"dead": 1, "failing": 1, "at-risk": 1, "alive": 41}, Frames: 12345, Drops: 6,
		Notes: []string{"one", "two \x1b[2J", "three", "four"}, More: 7}
	add := func(r monitor.Row) {
		r.ID = flows.FlowID(len(f.Rows) + 1)
		r.Client, r.Server = fmt.Sprintf("192.0.2.%d:40000", r.ID), "198.51.100.2:22"
		f.Rows = append(f.Rows, r)
	}
	gaps := []time.Duration{time.Second, time.Minute, 2 * time.Hour}
	add(monitor.Row{State: "dead", Idle: time.Hour, Verdict: "silent-drop", Confidence: "likely", Says: "gone \x1b]0;x\x07\u202e", Gaps: gaps})
	add(monitor.Row{State: "failing", Idle: time.Minute, Says: "a keepalive probe got no answer"})
	add(monitor.Row{State: "at-risk", Idle: 280 * time.Second, Limit: 350 * time.Second, Next: 6920 * time.Second, NextKnown: true, Says: "will die: idle 4m40s of 5m50s, next probe in 1h55m20s"})
	add(monitor.Row{State: "alive", Idle: 10 * time.Second, Limit: 350 * time.Second, Application: "ssh", Says: "will die: idle 10s of 5m50s, no keepalive was seen so far"})
	for range 40 {
		add(monitor.Row{State: "alive", Idle: time.Second, Limit: 350 * time.Second, Next: 50 * time.Second, NextKnown: true, Application: "日本語日本語", Sent: 12, Answered: 12, Says: "next probe in 50s"})
	}
	return f
}

// shown returns a screen of a size over a frame.
func shown(o Options, width, height int, f *Frame) *model {
	m := &model{board: &Board{}, o: o}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	if f != nil {
		m.board.Show(f)
	}
	m.Update(tick{})
	return m
}

func press(m *model, keys ...string) tea.Cmd {
	var cmd tea.Cmd
	for _, k := range keys {
		cmd = m.key(k)
	}
	m.Update(tick{})
	return cmd
}

// bare takes the styles off, which are the only escapes there may be.
func bare(t *testing.T, line string) string {
	t.Helper()
	for _, how := range []string{bold, faint, reverse, red, yellow, magenta, "0"} {
		line = strings.ReplaceAll(line, "\x1b["+how+"m", "")
	}
	if strings.ContainsAny(line, "\x1b\x07\u202e\n") {
		t.Errorf("something raw is drawn: %q", line)
	}
	return line
}

// Whatever the size and the state, the screen has exactly its lines, none is
// wider than it, and nothing of the capture gets through unescaped.
func TestScreenFitsEverySize(t *testing.T) {
	for _, o := range []Options{{}, {ASCII: true}, {NoColor: true}} {
		for _, size := range [][2]int{{200, 60}, {130, 40}, {100, 24}, {96, 24}, {80, 24}, {60, 12}, {40, 11}, {20, 5}, {10, 3}, {1, 1}} {
			for name, keys := range map[string][]string{"table": nil, "help": {"?"}, "detail": {"enter"}, "typing": {"/", "s", "s", "h"}, "none": {"/", "x", "y", "z", "enter"}, "end": {"G"}} {
				f := sample()
				m := shown(o, size[0], size[1], f)
				press(m, keys...)
				if id, _ := m.board.Wish(); id != 0 {
					g := *f
					g.Of, g.Detail = id, []string{"SILENT DROP \x1b[2J", strings.Repeat("wide ", 100)}
					m.board.Show(&g)
					m.Update(tick{})
				}
				lines := m.draw()
				if len(lines) != size[1] && size[1] > 2 {
					t.Errorf("%v %s: %d lines", size, name, len(lines))
				}
				for _, line := range lines {
					text := bare(t, line)
					if uniseg.StringWidth(text) > size[0] {
						t.Errorf("%v %s: %d columns: %q", size, name, uniseg.StringWidth(text), text)
					}
					if o.ASCII && strings.ContainsAny(text, "…→─█▁·") {
						t.Errorf("%v %s: not ASCII: %q", size, name, text)
					}
					if o.NoColor && (strings.Contains(line, "\x1b["+red+"m") || strings.Contains(line, "\x1b["+yellow+"m")) {
						t.Errorf("%v %s: colour in %q", size, name, line)
					}
				}
			}
		}
	}
	for _, line := range shown(Options{}, 80, 24, nil).draw() {
		bare(t, line)
	}
}

func TestScreenSaysWhatWillDie(t *testing.T) {
	text := strings.Join(shown(Options{NoColor: true}, 140, 24, sample()).draw(), "\n")
	for _, want := range []string{
		"1 dead · 1 failing · 1 at-risk · 41 alive · 12345 frames · 6 dropped", "▁▄█", "SILENT DROP likely. gone",
		" 70 s ", "will die: idle 4m40s", "doomed", "12/12", "two \\x1b[2J",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestScreenKeys(t *testing.T) {
	m := shown(Options{}, 100, 24, sample())
	if m.selected != 1 {
		t.Fatalf("selected %d, want the dead one", m.selected)
	}
	press(m, "down", "j")
	if m.selected != 3 {
		t.Errorf("two down: selected %d", m.selected)
	}
	press(m, "G")
	if m.selected != 44 || m.top == 0 {
		t.Errorf("at the end: selected %d, first shown %d", m.selected, m.top)
	}
	press(m, "g", "/", "s", "s", "h", "enter")
	if m.typing || m.filter != "ssh" || len(m.rows) != 1 || m.selected != 4 {
		t.Errorf("filter %q: %d rows, selected %d", m.filter, len(m.rows), m.selected)
	}
	press(m, "esc", "s")
	if m.filter != "" || m.order != byIdle || m.rows[0].ID != 1 || m.rows[1].ID != 3 {
		t.Errorf("by idle: %q %v, first %d, %d", m.filter, m.order, m.rows[0].ID, m.rows[1].ID)
	}
	press(m, "g", "down", "enter")
	if id, width := m.board.Wish(); id != 3 || width != 100 {
		t.Errorf("wish %d of %d columns", id, width)
	}
	press(m, "esc")
	if id, _ := m.board.Wish(); id != 0 || m.detail {
		t.Errorf("wish %d after going back", id)
	}
	press(m, "p")
	before := m.frame
	m.board.Show(sample())
	m.Update(tick{})
	if m.frame != before {
		t.Error("paused, and a new frame is shown")
	}
	press(m, "p")
	if m.frame == before {
		t.Error("going on, and the old frame is shown")
	}
	if cmd := press(m, "q"); cmd == nil || m.interrupted {
		t.Error("q does not quit")
	}
	if cmd := press(m, "ctrl+c"); cmd == nil || !m.interrupted {
		t.Error("^C does not interrupt")
	}
}
