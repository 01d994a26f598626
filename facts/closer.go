package facts

import (
	"slices"
	"strings"
	"time"
)

// Closer is an end or a proxy that closes an idle connection on purpose.
type Closer struct {
	ID, Name     string
	Ports        []int         // usual server ports
	Idle         time.Duration // default; 0 where there is none
	OffByDefault bool          // closes nothing until somebody sets it
	Sends        string        // what a capture shows: "FIN"
	Who          string        // the side that closes: "client", "server" or "device"
	Setting      string
	Change       []string // lines to type
	Notes        string
	Backing
}

// Closers returns what closes idle connections on purpose.
func Closers() []Closer { return slices.Clone(closers[:]) }

// CloserByID returns the row with that id.
func CloserByID(id string) (Closer, bool) {
	return byID(closers[:], id, func(c *Closer) string { return c.ID })
}

// ClosersFor returns the rows that can explain who ended a silence of idle on
// a server port: those whose default timer fits and those of that port that
// are only on where somebody set them. Guesses are left out. who is "client"
// or "server"; rows of devices between fit both.
func ClosersFor(port int, who string, idle time.Duration) []Closer {
	var fit []Closer
	for _, c := range closers {
		onPort := slices.Contains(c.Ports, port)
		near := c.Idle > 0 && c.Idle <= idle+idle/50 && idle <= c.Idle+c.Idle/20+2*time.Second
		if c.Confidence != Guess && onPort && (c.Who == who || c.Who == "device") && (near || c.OffByDefault) {
			fit = append(fit, c)
		}
	}
	return fit
}

// Log is what the owner of a device can search its log for.
type Log struct {
	ID, Name        string
	Timeouts        []string // ids of the rows of Timeouts that are this device's
	Search          []string // of packets that met no connection
	Expiry          []string // of the moment at which the timer ran out
	Counters        []string // commands
	Enable          []string // lines without which nothing is logged
	LoggedByDefault Tri
	Notes           string
	Backing
}

// Logs returns what devices write of connections they no longer know.
func Logs() []Log { return slices.Clone(logs[:]) }

// LogByID returns the row with that id.
func LogByID(id string) (Log, bool) {
	return byID(logs[:], id, func(l *Log) string { return l.ID })
}

// LogsOf returns the rows of the devices that have one of the timeouts, in the
// order of the table.
func LogsOf(timeouts []Timeout) []Log {
	var out []Log
	for _, l := range logs {
		if slices.ContainsFunc(timeouts, func(t Timeout) bool { return slices.Contains(l.Timeouts, t.ID) }) {
			out = append(out, l)
		}
	}
	return out
}

// holds reports whether any of the texts contains a word, whatever its case.
func holds(word string, texts ...string) bool {
	word = strings.ToLower(word)
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), word) })
}

// Mentions reports whether the row has the word in its id, its name or what it
// is about.
func (d *Default) Mentions(word string) bool { return holds(word, d.ID, d.Name, d.Kind) }

// Mentions reports whether the row has the word in its id, its name or its class.
func (t *Timeout) Mentions(word string) bool { return holds(word, t.ID, t.Name, t.Short, t.Class) }

// Mentions reports whether the row has the word in its id or its protocol.
func (h *Heartbeat) Mentions(word string) bool { return holds(word, h.ID, h.Protocol) }

// Mentions reports whether the row has the word in its id or its platform.
func (r *Remedy) Mentions(word string) bool { return holds(word, r.ID, r.Platform) }

// Mentions reports whether the row has the word in its id, its name or its setting.
func (c *Closer) Mentions(word string) bool { return holds(word, c.ID, c.Name, c.Setting) }

// Mentions reports whether the row has the word in its id, its name or what is
// searched for.
func (l *Log) Mentions(word string) bool {
	return holds(word, append([]string{l.ID, l.Name}, l.Search...)...)
}
