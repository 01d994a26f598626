package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Names of the capture points, in path order, and of the files that hold them
// (with ".pcap" behind).
const (
	AtClient       = "client"
	AtRouterClient = "router-client" // the router's interface towards the client
	AtRouterServer = "router-server"
	AtServer       = "server"

	// Captures on all interfaces of a host (cooked headers), where a scenario
	// takes them.
	AtClientAny = "client-any"
	AtRouterAny = "router-any"
)

// Points are the captures that every run has, in path order.
func Points() []string { return []string{AtClient, AtRouterClient, AtRouterServer, AtServer} }

// Truth is what is known of a run without reading a capture. Instants are on
// the clock that all namespaces share; in a stored set they are moved by the
// same map as the frames, and the clocks of single files are off by Clocks.
type Truth struct {
	Scenario string         `json:"scenario"`
	About    string         `json:"about"`
	Seed     uint64         `json:"seed"` // 0: the scenario's own timers
	Systems  []string       `json:"systems"`
	Flows    []Flow         `json:"flows"`
	Ends     map[string]End `json:"ends"` // by AtClient, AtServer
	Path     Path           `json:"path"`
	Moments  []Moment       `json:"moments"`

	// CountersSince and CountersAt bound the time that the counters of Ends are
	// about.
	CountersSince time.Time `json:"counters_since"`
	CountersAt    time.Time `json:"counters_at"`

	// Clocks holds, by capture, what was added to its timestamps, in seconds.
	Clocks map[string]float64 `json:"clock_added_s,omitempty"`
	// Translated says, by the client's address, as what the server knows it.
	Translated map[string]string `json:"translated,omitempty"`
	// Partners says, by the client's address, from which address a proxy asked on.
	Partners map[string]string `json:"partners,omitempty"`
	// Stretched lists the silence that was put in, on the original time axis.
	Stretched []Insertion `json:"stretched,omitempty"`
	// Find holds frame numbers by capture: what a reader should find where.
	Find map[string][]Landmark `json:"find,omitempty"`

	typed, idleSince time.Time // begins of the pauses that stretching lengthens
}

// Flow is one connection of a run.
type Flow struct {
	Client      string `json:"client"` // addr:port
	Server      string `json:"server"`
	Application string `json:"application"`
	Happened    string `json:"happened"` // what was done to it, in a sentence
	Expect      Expect `json:"expect"`
}

// Expect is what the captures of both ends together must lead to.
type Expect struct {
	Verdict         string `json:"verdict"`
	Confidence      string `json:"confidence,omitempty"`
	Cause           string `json:"cause,omitempty"`
	CauseConfidence string `json:"cause_confidence,omitempty"`

	Findings []string `json:"findings,omitempty"` // that must be told beside it
}

// End is what one host was set to and what its kernel counted.
type End struct {
	Address   string    `json:"address"`
	Keepalive Keepalive `json:"keepalive"`
	Alive     *Beats    `json:"alive,omitempty"` // ssh's own heartbeat
	Counters  Counters  `json:"counters"`
	Unsent    Counters  `json:"unsent,omitzero"` // of these, what met no link and is in no capture
}

// Keepalive is a host's TCP keepalive policy for the flows of a run; the zero
// value is none. Durations are in seconds.
type Keepalive struct {
	Idle     float64 `json:"idle_s"`
	Interval float64 `json:"interval_s"`
	Count    int     `json:"count"`

	UserTimeout float64 `json:"user_timeout_s,omitempty"` // of the sockets; it then rules, and no count
}

// Beats is a setting of ServerAlive or ClientAlive; the interval is in seconds.
type Beats struct {
	Interval float64 `json:"interval_s"`
	Count    int     `json:"count"`
}

// Counters are the kernel's own, from /proc/net/netstat and /proc/net/snmp of
// the host's namespace.
type Counters struct {
	KeepaliveProbes int `json:"TCPKeepAlive"`
	WindowProbes    int `json:"TCPWinProbe"`
	Timeouts        int `json:"TCPTimeouts"`
	LossProbes      int `json:"TCPLossProbes"`
	Retransmissions int `json:"RetransSegs"`
	OutSegs         int `json:"OutSegs"` // without retransmissions and without RSTs of no socket
	OutRsts         int `json:"OutRsts"`
}

// add adds what another reading has counted, times sign.
func (c *Counters) add(n Counters, sign int) {
	c.KeepaliveProbes += sign * n.KeepaliveProbes
	c.WindowProbes += sign * n.WindowProbes
	c.Timeouts += sign * n.Timeouts
	c.LossProbes += sign * n.LossProbes
	c.Retransmissions += sign * n.Retransmissions
	c.OutSegs += sign * n.OutSegs
	c.OutRsts += sign * n.OutRsts
}

// Path is what lay between the ends.
type Path struct {
	RoundTrip    float64 `json:"round_trip_s"`
	StateTimeout float64 `json:"state_timeout_s"`    // of established connections in the router; 0: it keeps none
	Died         string  `json:"died"`               // "both", "server to client", or "" for neither direction
	Control      string  `json:"control"`            // other traffic of the hosts after the onset: "crossed", "lost", or "" for none
	Proxy        bool    `json:"proxy,omitempty"`    // the router ends connections and opens others
	Offload      bool    `json:"offload,omitempty"`  // segments are cut and put together on the way
	Relearns     string  `json:"relearns,omitempty"` // the end from which the router learns a forgotten connection anew
	Dropped      int     `json:"dropped"`            // TCP packets that router and relay counted as dropped
	Unheard      int     `json:"unheard,omitempty"`  // of these, what came to a host that slept
}

// Moment is when something happened.
type Moment struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// fallsSilent is the moment from which on a session is idle.
const fallsSilent = "the session falls silent"

// Landmark is a frame worth looking at, or a number of frames.
type Landmark struct {
	What  string `json:"what"`
	Frame int    `json:"frame"` // from 1, as Wireshark counts
}

// Run is a finished scenario.
type Run struct {
	Dir      string
	Captures map[string]string // path of the file by capture point
	Truth    Truth
}

// TruthFile is the name of the file that holds the truth of a capture set.
const TruthFile = "truth.json"

// writeTruth stores t in dir.
func writeTruth(dir string, t *Truth) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("write truth of %s: %w", t.Scenario, err)
	}
	return os.WriteFile(filepath.Join(dir, TruthFile), append(text, '\n'), 0o644)
}

// ReadRun reads a capture set that was stored in dir: its truth and the paths
// of its captures.
func ReadRun(dir string) (*Run, error) {
	text, err := os.ReadFile(filepath.Join(dir, TruthFile))
	if err != nil {
		return nil, err
	}
	run := &Run{Dir: dir, Captures: map[string]string{}}
	if err := json.Unmarshal(text, &run.Truth); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, TruthFile), err)
	}
	run.find()
	return run, nil
}

// find notes the captures that are there.
func (r *Run) find() {
	for _, at := range append(Points(), AtClientAny, AtRouterAny) {
		path := filepath.Join(r.Dir, at+".pcap")
		if _, err := os.Stat(path); err == nil {
			r.Captures[at] = path
		}
	}
}
