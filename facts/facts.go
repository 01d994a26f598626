package facts

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Tri is an answer that may be missing. The zero value is Unknown.
type Tri uint8

// Answers of a Tri.
const (
	Unknown Tri = iota
	Yes
	No
)

// String returns "yes", "no" or "unknown".
func (t Tri) String() string {
	switch t {
	case Yes:
		return "yes"
	case No:
		return "no"
	default:
		return "unknown"
	}
}

// Source is where a row comes from.
type Source struct {
	Title   string
	Address string // a URL, or words where the source has none
}

// How well a row is founded, in Backing.Confidence.
const (
	Documented     = "documented"      // vendor page, RFC or source code
	WidelyReported = "widely reported" // many say so, the vendor's page is not at hand
	Guess          = "guess"
)

// Backing says how well a row is founded.
type Backing struct {
	Confidence string   // Documented, WidelyReported or Guess
	Checked    bool     // the text of a listed source was read for this row
	Measured   bool     // a capture of our own confirmed it as well
	Sources    []Source // at least one
}

// Shaky reports whether the row must not carry a verdict alone: it is a guess,
// or nobody has reopened its source.
func (b Backing) Shaky() bool { return !b.Checked || b.Confidence == Guess }

// rank orders rows that say the same number: the best founded comes first.
func (b Backing) rank() int {
	rank := slices.Index([]string{Documented, WidelyReported, Guess}, b.Confidence)
	if !b.Checked {
		rank += 3
	}
	return rank
}

// Default is the keepalive policy with which a system or a program starts.
type Default struct {
	ID, Name    string
	Kind        string        // "os", "stack", "device", "runtime" or "app"
	Idle        time.Duration // silence before the first probe; 0 not known or none
	Interval    time.Duration // spacing of unanswered probes; 0 where it follows the retransmission timer, or not known
	Count       int           // unanswered probes before giving up; 0 not known
	Backoff     string        // "fixed" or "exponential" spacing of unanswered probes; "" not known
	Abort       time.Duration // give-up time after Idle where no count rules it; 0 none
	ProbeOctets int           // payload of a probe; -1 not known, or as the system below does
	OnByDefault Tri           // whether connections are probed without anyone asking
	Detection   time.Duration // from the last segment received to giving up; 0 not known
	TimerWheel  bool          // its timers run on the Linux timer wheel (see Granule)
	OSValues    bool          // the numbers are those of a system with a row of its own, so they identify nothing
	Payload     bool          // about a payload heartbeat, not about TCP probes
	Formula     string        // how Detection comes about, in the words of the system
	Units       string        // what its settings count in
	Limits      string        // range of the settings
	Versions    string
	AppliesTo   string
	GivesUpWith string // what it sends at the end
	Notes       string
	Remedies    []string      // ids of the rows of Remedies that change it
	Unit        time.Duration // what one step of its settings is worth; 0 is a second
	Sum         Sum           // how Detection follows from its settings
	SingleTimer string        // the one setting that stands for idle time and interval; "" where there are two
	Unpaced     bool          // its numbers do not say how often the path sees a packet
	SetOn       string        // on which hosts it must be set, and why; "" where either end will do
	Readings    []Reading     // what sources claim, where they contradict each other or leave room
	Backing
}

// Timeout is how long a device remembers a silent connection.
type Timeout struct {
	ID, Name, Class    string
	Short              string        // the name in a list, "Azure LB"; "" where Name is short
	Idle               time.Duration // default; 0 where there is none
	State              string        // the TCP state the timer belongs to; Established for the usual one
	Ports              []int         // holds for these server ports only; nil for all
	KeepaliveRefreshes Tri           // whether a probe or its ACK resets the timer
	AtExpiry           string        // what happens when the timer runs out
	OnNextPacket       string        // what the first packet after it meets
	Range, Notes       string
	HowToChange        []string
	Common             bool     // often met: it stands for its timeout where a list must be short
	Remedies           []string // ids of the rows of Remedies that change it
	Backing
}

// Established is the Timeout.State of timers for connections in which nothing
// is wrong and nothing outstanding.
const Established = "ESTABLISHED"

// Label is the short name of the device.
func (t *Timeout) Label() string {
	if t.Short != "" {
		return t.Short
	}
	return t.Name
}

// Heartbeat is how one application says on an idle connection that it lives.
type Heartbeat struct {
	ID, Protocol   string
	Ports          []int // usual server ports
	Encrypted      bool  // its content cannot be read from a capture
	Direction      string
	Lens           []int    // payload octets of the heartbeat; nil where they vary
	Prefixes       []string // first octets, raw, any of them; nil where the content does not name it
	Contains       string   // octets, raw, that must occur as well; "" none
	Answer         string   // what answers it, in words; "" where nothing is known
	Unanswered     bool     // the application answers nothing
	AnswerLens     []int
	AnswerPrefixes []string
	Every          string // usual interval in seconds, in words
	DeadAfter      string // when it gives up, in words
	Ciphers        []CipherLens
	Match          string // how to tell it by rhythm and size
	Notes          string
	Decoded        bool // tshark names the same octets alike
	Backing
}

// CipherLens are the TCP payload octets of an encrypted heartbeat.
type CipherLens struct {
	Cipher          string
	Request, Answer int
	Keystroke       int // one octet of data, to tell it from typing; 0 not known
}

// shortSignature is the length below which first octets name a heartbeat only
// on the right port.
const shortSignature = 4

// Matches reports whether a payload of length octets that begins with head is
// this heartbeat, as far as content and length can tell, sent to or from one
// of the given ports. Signatures of fewer than four octets count on a usual
// port only. A heartbeat whose content is encrypted or varies never matches.
func (h *Heartbeat) Matches(head []byte, length int, ports ...uint16) bool {
	return matches(h, h.Prefixes, h.Lens, head, length, ports) && strings.Contains(string(head), h.Contains)
}

// MatchesAnswer is Matches for the answer to the heartbeat.
func (h *Heartbeat) MatchesAnswer(head []byte, length int, ports ...uint16) bool {
	return matches(h, h.AnswerPrefixes, h.AnswerLens, head, length, ports)
}

func matches(h *Heartbeat, prefixes []string, lens []int, head []byte, length int, ports []uint16) bool {
	if len(lens) > 0 && !slices.Contains(lens, length) {
		return false
	}
	onPort := slices.ContainsFunc(ports, func(p uint16) bool { return slices.Contains(h.Ports, int(p)) })
	for _, prefix := range prefixes {
		if (onPort || len(prefix) >= shortSignature) && strings.HasPrefix(string(head), prefix) {
			return true
		}
	}
	return false
}

// HeartbeatIn returns the heartbeat whose content a payload of length octets
// that begins with head has, sent to or from one of the ports; false where it
// is none that is known.
func HeartbeatIn(head []byte, length int, ports ...uint16) (Heartbeat, bool) {
	for _, i := range beginningAs(head) {
		if heartbeats[i].Matches(head, length, ports...) {
			return heartbeats[i], true
		}
	}
	return Heartbeat{}, false
}

// beginners are the heartbeats that begin with an octet, by it, and last those that an
// empty payload may be: few payloads begin as any does.
var beginners struct {
	once sync.Once
	of   [257][]int
}

// beginningAs returns which heartbeats a payload may be by its first octet.
func beginningAs(head []byte) []int {
	beginners.once.Do(func() {
		of := &beginners.of
		for i := range heartbeats {
			for _, prefix := range heartbeats[i].Prefixes {
				for octet := range of {
					if n := len(of[octet]); (octet == firstOf([]byte(prefix)) || prefix == "") && (n == 0 || of[octet][n-1] != i) {
						of[octet] = append(of[octet], i)
					}
				}
			}
		}
	})
	return beginners.of[firstOf(head)]
}

// firstOf returns the first octet of a payload, 256 where it is empty.
func firstOf(head []byte) int {
	if len(head) == 0 {
		return 256
	}
	return int(head[0])
}

// HeartbeatAnswerIn is HeartbeatIn for the answer to a heartbeat.
func HeartbeatAnswerIn(head []byte, length int, ports ...uint16) (Heartbeat, bool) {
	for i := range heartbeats {
		if heartbeats[i].MatchesAnswer(head, length, ports...) {
			return heartbeats[i], true
		}
	}
	return Heartbeat{}, false
}

// EncryptedBeat reports whether a payload of length octets has the size of an
// encrypted heartbeat on a server port, or of the answer to one. Size alone
// proves nothing: other data can have it.
func EncryptedBeat(port, length int) (request, answer bool) {
	for i := range heartbeats {
		h := &heartbeats[i]
		if !h.Encrypted || !slices.Contains(h.Ports, port) {
			continue
		}
		request = request || slices.Contains(h.Lens, length)
		answer = answer || slices.Contains(h.AnswerLens, length)
	}
	return request, answer
}

// Defaults returns the keepalive defaults, the best known systems first.
func Defaults() []Default { return slices.Clone(defaults[:]) }

// Timeouts returns the idle timeouts of devices.
func Timeouts() []Timeout { return slices.Clone(timeouts[:]) }

// Heartbeats returns the heartbeats of applications.
func Heartbeats() []Heartbeat { return slices.Clone(heartbeats[:]) }

// Remedies returns the lines that keep connections alive.
func Remedies() []Remedy { return slices.Clone(remedies[:]) }

// DefaultByID returns the row with that id.
func DefaultByID(id string) (Default, bool) {
	return byID(defaults[:], id, func(d *Default) string { return d.ID })
}

// SystemRemedy returns the id of the remedy that changes the keepalives of the
// operating system with that name, "" where there is none.
func SystemRemedy(name string) string {
	for i := range defaults {
		if d := &defaults[i]; d.Name == name && d.Kind == "os" && len(d.Remedies) > 0 {
			return d.Remedies[0]
		}
	}
	return ""
}

// TimeoutByID returns the row with that id.
func TimeoutByID(id string) (Timeout, bool) {
	return byID(timeouts[:], id, func(t *Timeout) string { return t.ID })
}

// HeartbeatByID returns the row with that id.
func HeartbeatByID(id string) (Heartbeat, bool) {
	return byID(heartbeats[:], id, func(h *Heartbeat) string { return h.ID })
}

// RemedyByID returns the row with that id.
func RemedyByID(id string) (Remedy, bool) {
	return byID(remedies[:], id, func(r *Remedy) string { return r.ID })
}

func byID[T any](rows []T, id string, of func(*T) string) (T, bool) {
	for i := range rows {
		if of(&rows[i]) == id {
			return rows[i], true
		}
	}
	var none T
	return none, false
}

// FindDefaults returns the defaults that a user means by word: the row with
// that id, else the rows whose id begins with it, else those with the word in
// id or name. Case does not matter. "windows" gives three rows, "linux" one.
func FindDefaults(word string) []Default {
	word = strings.ToLower(strings.TrimSpace(word))
	if word == "" {
		return nil
	}
	for _, means := range []func(*Default) bool{
		func(d *Default) bool { return d.ID == word },
		func(d *Default) bool { return strings.HasPrefix(d.ID, word) },
		func(d *Default) bool { return strings.Contains(strings.ToLower(d.ID+" "+d.Name), word) },
	} {
		var found []Default
		for i := range defaults {
			if means(&defaults[i]) {
				found = append(found, defaults[i])
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// TimeoutsBetween returns the known devices that could have killed a silence
// of killed while they let one of survived pass: those whose default idle
// timeout T for established connections has survived < T <= killed. Guesses
// are left out, and so are rows that hold for particular server ports, unless
// one of them is among ports. The shortest comes first, at equal T the best
// founded, and a device appears once per T.
func TimeoutsBetween(survived, killed time.Duration, ports ...int) []Timeout {
	var fit []int
	for i := range timeouts {
		t := &timeouts[i]
		if t.State == Established && t.Confidence != Guess && survived < t.Idle && t.Idle <= killed && t.onPort(ports) {
			fit = append(fit, i)
		}
	}
	return byIdle(fit)
}

func (t *Timeout) onPort(ports []int) bool {
	return t.Ports == nil || slices.ContainsFunc(ports, func(p int) bool { return slices.Contains(t.Ports, p) })
}

// byIdle returns the rows at the given places, the shortest timeout first,
// among equals the best founded. A device appears once per timeout.
func byIdle(places []int) []Timeout {
	slices.SortStableFunc(places, func(i, j int) int {
		a, b := &timeouts[i], &timeouts[j]
		return cmp.Or(cmp.Compare(a.Idle, b.Idle), cmp.Compare(a.rank(), b.rank()))
	})
	rows := make([]Timeout, 0, len(places))
	for _, i := range places {
		t, again := &timeouts[i], false
		for j := len(rows) - 1; j >= 0 && rows[j].Idle == t.Idle; j-- {
			again = again || rows[j].Label() == t.Label()
		}
		if !again {
			rows = append(rows, *t)
		}
	}
	return rows
}
