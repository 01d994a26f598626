// Package screen shows connections on a terminal as they live and die, the most
// endangered first: which are idle for how long, how far the path's limit is,
// and whether the next probe comes before it.
package screen

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	tea "charm.land/bubbletea/v2"

	"kaflow/flows"
	"kaflow/monitor"
)

// Frame is what is shown at a moment. It is not changed once it is handed over.
type Frame struct {
	Title  string // what is watched
	At     time.Time
	Rows   []monitor.Row // the most endangered first
	More   int           // connections beyond Rows
	States map[string]int
	Frames uint64   // read so far
	Drops  uint64   // by the kernel
	Away   []string // interfaces that are down
	Notes  []string // the newest events and complaints, newest last
	Of     flows.FlowID
	Detail []string // of connection Of
}

// Board is where the capture leaves frames and the screen its wishes: neither
// ever waits for the other.
type Board struct {
	frame atomic.Pointer[Frame]
	wish  atomic.Uint64 // the flow whose detail is shown; 0: none
	width atomic.Int64
}

// Show leaves a frame.
func (b *Board) Show(f *Frame) { b.frame.Store(f) }

// Wish returns the connection whose detail is shown, 0 where none is, and the
// columns of the screen.
func (b *Board) Wish() (id flows.FlowID, columns int) {
	return flows.FlowID(b.wish.Load()), int(b.width.Load())
}

// Options tune a screen. The zero value is the default.
type Options struct {
	ASCII   bool
	NoColor bool
}

// ErrInterrupted is what Run returns after ^C.
var ErrInterrupted = errors.New("interrupted")

// refresh is how often a new frame is looked for.
const refresh = 250 * time.Millisecond

// Run shows a board until the user quits or ctx ends. It returns ErrInterrupted
// after ^C.
func Run(ctx context.Context, in io.Reader, out io.Writer, b *Board, o Options) error {
	m := &model{board: b, o: o, width: 80, height: 24}
	_, err := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithFPS(10)).Run()
	switch {
	case m.interrupted:
		return ErrInterrupted
	case ctx.Err() != nil:
		return nil
	}
	return err
}

// Sort orders, in the order that s goes through.
const (
	byDanger = iota
	byIdle
	byLimit
	byClient
	byServer
	orders
)

var orderNames = [orders]string{"danger", "idle", "time left", "client", "server"}

// model is the state of the screen.
type model struct {
	board *Board
	o     Options

	width, height int
	frame         *Frame
	rows          []monitor.Row // of the frame, filtered and sorted
	at            int           // selected row
	selected      flows.FlowID
	top           int // first row that is shown
	order         int
	filter        string
	typing        bool
	paused        bool
	help          bool
	detail        bool
	scroll        int // of the detail
	interrupted   bool
}

type tick struct{}

func again() tea.Cmd { return tea.Tick(refresh, func(time.Time) tea.Msg { return tick{} }) }

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return again() }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		if f := m.board.frame.Load(); f != nil && f != m.frame && !m.paused {
			m.frame = f
			m.arrange()
		}
		return m, again()
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.board.width.Store(int64(msg.Width))
		m.keepInView()
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

// key does what a key asks for.
func (m *model) key(k string) tea.Cmd {
	if k == "ctrl+c" {
		m.interrupted = true
		return tea.Quit
	}
	switch {
	case m.typing:
		m.type1(k)
		return nil
	case m.help:
		m.help = false
		return nil
	}
	switch k {
	case "q":
		return tea.Quit
	case "?", "h":
		m.help = true
	case "p", "space", " ":
		m.paused = !m.paused
	case "/":
		m.typing = true
	case "s":
		m.order = (m.order + 1) % orders
		m.arrange()
	case "S":
		m.order = (m.order + orders - 1) % orders
		m.arrange()
	case "enter", "right", "l":
		if !m.detail && m.at < len(m.rows) {
			m.detail, m.scroll = true, 0
			m.board.wish.Store(uint64(m.selected))
		}
	case "esc", "left", "backspace":
		switch {
		case m.detail:
			m.detail = false
			m.board.wish.Store(0)
		default:
			m.filter = ""
			m.arrange()
		}
	default:
		m.move(k)
	}
	return nil
}

// type1 takes a key of the filter's text.
func (m *model) type1(k string) {
	switch k {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case "space":
		m.filter += " "
	default:
		if len([]rune(k)) == 1 && len(m.filter) < 100 {
			m.filter += k
		}
	}
	m.arrange()
}

// move moves the selection, or the detail.
func (m *model) move(k string) {
	page := max(1, m.body()-1)
	by := 0
	switch k {
	case "up", "k":
		by = -1
	case "down", "j":
		by = 1
	case "pgup", "ctrl+b":
		by = -page
	case "pgdown", "ctrl+f":
		by = page
	case "home", "g":
		by = -1 << 30
	case "end", "G":
		by = 1 << 30
	}
	if m.detail {
		m.scroll = max(0, min(m.scroll+by, m.lines()-m.body()))
		return
	}
	m.at = max(0, min(m.at+by, len(m.rows)-1))
	if m.at < len(m.rows) {
		m.selected = m.rows[m.at].ID
	}
	m.keepInView()
}

// lines is how long the detail is.
func (m *model) lines() int {
	if m.frame == nil {
		return 0
	}
	return len(m.frame.Detail)
}

// arrange filters and sorts the rows of the frame; the selection stays with its
// connection.
func (m *model) arrange() {
	m.rows = m.rows[:0]
	if m.frame != nil {
		for i := range m.frame.Rows {
			if matches(&m.frame.Rows[i], m.filter) {
				m.rows = append(m.rows, m.frame.Rows[i])
			}
		}
	}
	if m.order != byDanger {
		slices.SortStableFunc(m.rows, m.compare)
	}
	m.at = min(m.at, max(0, len(m.rows)-1))
	for i := range m.rows {
		if m.rows[i].ID == m.selected {
			m.at = i
		}
	}
	if m.at < len(m.rows) {
		m.selected = m.rows[m.at].ID
	}
	m.keepInView()
}

// matches reports whether every word of a filter is in a row.
func matches(r *monitor.Row, filter string) bool {
	text := strings.ToLower(strings.Join([]string{r.State, r.Client, r.Server, r.Application, r.Verdict, r.Says}, " "))
	for _, word := range strings.Fields(strings.ToLower(filter)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func (m *model) compare(a, b monitor.Row) int {
	switch m.order {
	case byIdle:
		return int(b.Idle/time.Millisecond) - int(a.Idle/time.Millisecond)
	case byLimit:
		return int((a.Limit-a.Idle)/time.Millisecond) - int((b.Limit-b.Idle)/time.Millisecond)
	case byClient:
		return strings.Compare(a.Client, b.Client)
	case byServer:
		return strings.Compare(a.Server, b.Server)
	}
	return a.Danger(&b)
}

// keepInView scrolls so that the selection is shown.
func (m *model) keepInView() {
	body := max(1, m.body())
	if m.at < m.top {
		m.top = m.at
	}
	if m.at >= m.top+body {
		m.top = m.at - body + 1
	}
	m.top = max(0, min(m.top, len(m.rows)-body))
}
