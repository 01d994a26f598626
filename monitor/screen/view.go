package screen

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/rivo/uniseg"

	"kaflow/monitor"
	"kaflow/render"
	"kaflow/tcp"
)

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.draw(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "kaflow watch"
	return v
}

// notesShown is how many of the newest events stand below the table.
const notesShown = 3

// body is how many lines the table or the detail has.
func (m *model) body() int {
	used := 3 // title, heads, keys
	if m.height >= 12 {
		used += notesShown + 1
	}
	return max(1, m.height-used)
}

// draw lays the screen out: exactly height lines, none wider than width.
func (m *model) draw() []string {
	lines := []string{m.title()}
	switch {
	case m.help:
		lines = append(lines, m.helpLines()...)
	case m.frame == nil:
		lines = append(lines, "", " waiting for packets "+m.pick("…", "..."))
	case m.detail:
		lines = append(lines, m.detailLines()...)
	default:
		lines = append(lines, m.table()...)
	}
	bottom := 1
	if m.height >= 12 {
		bottom += notesShown + 1
	}
	for len(lines) < m.height-bottom {
		lines = append(lines, "")
	}
	lines = lines[:max(1, min(len(lines), m.height-bottom))]
	if bottom > 1 {
		lines = append(lines, m.notes()...)
	}
	lines = append(lines, m.keys())
	for i := range lines {
		lines[i] = m.fit(lines[i], m.width)
	}
	return lines[:min(len(lines), max(1, m.height))]
}

// title says what is watched and how it goes.
func (m *model) title() string {
	f := m.frame
	if f == nil {
		return m.style(bold, "kaflow watch")
	}
	parts := []string{"kaflow " + clean(f.Title), f.At.Format("15:04:05")}
	for _, state := range []string{"dead", "failing", "at-risk", "alive"} {
		if n := f.States[state]; n > 0 || state == "alive" {
			parts = append(parts, strconv.Itoa(n)+" "+state)
		}
	}
	parts = append(parts, strconv.FormatUint(f.Frames, 10)+" frames", strconv.FormatUint(f.Drops, 10)+" dropped")
	text := strings.Join(parts, m.pick(" · ", " | "))
	if m.paused {
		text = "PAUSED  " + text
	}
	if len(f.Away) > 0 {
		text = "DOWN: " + clean(strings.Join(f.Away, ", ")) + "  " + text
	}
	return m.style(bold, text)
}

// column is a column of the table.
type column struct {
	head  string
	width int
	right bool
	text  func(*monitor.Row) string
}

// columns returns those that fit; the last one takes what is left.
func (m *model) columns() []column {
	ends := func(r *monitor.Row) string { return r.Client + m.pick(" → ", " > ") + r.Server }
	state := column{"STATE", 8, false, stateWord}
	idle := column{"IDLE", 8, true, func(r *monitor.Row) string { return brief(r.Idle) }}
	left := column{"LEFT", 8, true, left}
	next := column{"PROBE IN", 8, true, func(r *monitor.Row) string {
		if !r.NextKnown || r.State == "dead" {
			return "-"
		}
		return brief(r.Next)
	}}
	probes := column{"PROBES", 9, true, func(r *monitor.Row) string { return fmt.Sprintf("%d/%d", r.Answered, r.Sent) }}
	gaps := column{"GAPS", 8, false, func(r *monitor.Row) string { return m.spark(r.Gaps) }}
	app := column{"APP", 6, false, func(r *monitor.Row) string { return r.Application }}
	says := column{"", 0, false, func(r *monitor.Row) string {
		if r.Verdict == "" {
			return r.Says
		}
		return strings.TrimSpace(strings.ToUpper(strings.ReplaceAll(r.Verdict, "-", " "))+" "+r.Confidence) + ". " + r.Says
	}}
	both := column{"CONNECTION", 41, false, ends}
	switch {
	case m.width >= 130:
		return []column{state, both, app, idle, left, next, probes, gaps, says}
	case m.width >= 96:
		both.width = 36
		return []column{state, both, idle, left, probes, gaps, says}
	case m.width >= 60:
		both.width = m.width - 8 - 8 - 8 - 4
		return []column{state, both, idle, left}
	}
	both.width = 0
	return []column{idle, both}
}

func stateWord(r *monitor.Row) string {
	if r.State == "alive" && r.Doomed() {
		return "doomed"
	}
	return r.State
}

// left is the time to the path's limit.
func left(r *monitor.Row) string {
	switch {
	case r.Limit == 0 || r.State == "dead":
		return "-"
	case r.Idle > r.Limit:
		return "over"
	}
	return brief(r.Limit - r.Idle)
}

// table draws the heads and the rows in view.
func (m *model) table() []string {
	columns := m.columns()
	var heads []string
	for _, c := range columns {
		heads = append(heads, m.cell(c.head, c))
	}
	lines := []string{m.style(bold, m.fit(strings.Join(heads, " "), m.width))}
	body := m.body()
	for i := m.top; i < min(len(m.rows), m.top+body); i++ {
		r := &m.rows[i]
		var cells []string
		for _, c := range columns {
			cells = append(cells, m.cell(clean(c.text(r)), c))
		}
		text := m.fit(strings.Join(cells, " "), m.width)
		if i == m.at {
			text = m.style(reverse, text+strings.Repeat(" ", max(0, m.width-uniseg.StringWidth(text))))
		} else {
			text = m.style(colorOf(r), text)
		}
		lines = append(lines, text)
	}
	if len(m.rows) == 0 {
		lines = append(lines, " no connection"+m.filtered())
	} else if m.frame.More > 0 && m.top+body >= len(m.rows) {
		lines[len(lines)-1] = m.style(faint, fmt.Sprintf(" and %d more, in less danger", m.frame.More+1))
	}
	return lines
}

func (m *model) filtered() string {
	if m.filter == "" {
		return " yet"
	}
	return " matches " + clean(m.filter)
}

// cell fills or cuts a text to its column.
func (m *model) cell(text string, c column) string {
	if c.width == 0 {
		return text
	}
	text = m.fit(text, c.width)
	pad := strings.Repeat(" ", max(0, c.width-uniseg.StringWidth(text)))
	if c.right {
		return pad + text
	}
	return text + pad
}

// detailLines draws the report on the selected connection.
func (m *model) detailLines() []string {
	if m.frame.Of != m.selected || len(m.frame.Detail) == 0 {
		return []string{"", " reading " + m.pick("…", "...")}
	}
	from := min(m.scroll, len(m.frame.Detail))
	lines := []string{""}
	for _, line := range m.frame.Detail[from:min(len(m.frame.Detail), from+m.body())] {
		lines = append(lines, clean(line))
	}
	return lines
}

// notes draws the newest events.
func (m *model) notes() []string {
	lines := []string{m.style(faint, strings.Repeat(m.pick("─", "-"), m.width))}
	var notes []string
	if m.frame != nil {
		notes = m.frame.Notes[max(0, len(m.frame.Notes)-notesShown):]
	}
	for i := range notesShown {
		if i < len(notes) {
			lines = append(lines, clean(notes[i]))
		} else {
			lines = append(lines, "")
		}
	}
	return lines
}

// keys draws the last line: what can be pressed, or the filter.
func (m *model) keys() string {
	switch {
	case m.typing:
		return "/" + clean(m.filter) + m.pick("█", "_")
	case m.detail:
		return m.style(faint, "esc back  "+m.pick("↑↓", "jk")+" scroll  p pause  q quit")
	}
	text := "enter detail  / filter  s sort: " + orderNames[m.order] + "  p pause  ? help  q quit"
	if m.filter != "" {
		text = "/" + clean(m.filter) + "  esc clears  " + text
	}
	return m.style(faint, text)
}

// helpWidth is what the help in two columns takes.
const helpWidth = 78

func (m *model) helpLines() []string {
	if m.width < helpWidth { // in one column, the keys that are needed most first
		return strings.Split(`
 enter  report on the connection
 esc    back, without the filter
 / s S  filter, sort
 j k    move (g G first, last)
 p      pause the screen
 q      quit; any key goes back
 dead, failing: probes unanswered
 at-risk, doomed: near the limit`, "\n")
	}
	return strings.Split(`
 up down j k   move             enter l   the connection's report and timeline
 pgup pgdown   by pages         esc       back; takes the filter away
 g G           first, last      s S       sort by danger, idle, time left, ends
 /             filter: words that the row must hold
 p space       pause the screen, not the capture
 ? h           this help        q         quit; ^C quits with status 130

 STATE   dead, failing (a probe got no answer), at-risk (silent for most of
         what the path allows), doomed (the path's limit comes before the next
         probe), alive
 LEFT    time until the limit of --path-limit
 PROBES  answered/sent          GAPS      its longest silences, in time order

 any key goes back`, "\n")
}

// spark draws durations as bars, on a logarithmic scale from a second to two
// hours.
func (m *model) spark(gaps []time.Duration) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	if m.o.ASCII {
		bars = []rune("_.:-=+*#")
	}
	var b strings.Builder
	for _, g := range gaps {
		level := math.Log(max(1, g.Seconds())) / math.Log(7200) * float64(len(bars)-1)
		b.WriteRune(bars[max(0, min(len(bars)-1, int(math.Round(level))))])
	}
	return b.String()
}

// brief writes a duration in at most eight columns.
func brief(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 10*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 10*time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Select Graphic Rendition parameters.
const (
	plain   = ""
	bold    = "1"
	faint   = "2"
	reverse = "7"
	red     = "31"
	yellow  = "33"
	magenta = "35"
)

func colorOf(r *monitor.Row) string {
	switch {
	case r.State == "dead":
		return red
	case r.State == "failing" || r.State == "at-risk":
		return yellow
	case r.Doomed():
		return magenta
	}
	return plain
}

// style puts text into a style; without colour only weight and reversal are left.
func (m *model) style(how, text string) string {
	if how == plain || m.o.NoColor && how != bold && how != reverse && how != faint {
		return text
	}
	return "\x1b[" + how + "m" + text + "\x1b[0m"
}

// pick chooses between a text and its ASCII form.
func (m *model) pick(text, ascii string) string {
	if m.o.ASCII {
		return ascii
	}
	return text
}

// clean escapes what came from a capture.
func clean(text string) string { return render.Safe(tcp.Untrusted(text)) }

// fit cuts a line, which may be styled as a whole, to so many columns.
func (m *model) fit(line string, columns int) string {
	style := ""
	if strings.HasPrefix(line, "\x1b[") {
		end := strings.IndexByte(line, 'm') + 1
		style, line = line[:end], strings.TrimSuffix(line[end:], "\x1b[0m")
	}
	if uniseg.StringWidth(line) > columns {
		line = cut(line, columns, m.pick("…", "~"))
	}
	if style != "" {
		return style + line + "\x1b[0m"
	}
	return line
}

func cut(line string, columns int, mark string) string {
	var b strings.Builder
	used, rest, state := 0, line, -1
	for rest != "" {
		var cluster string
		var width int
		cluster, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+width > columns-1 {
			break
		}
		b.WriteString(cluster)
		used += width
	}
	return b.String() + mark
}
