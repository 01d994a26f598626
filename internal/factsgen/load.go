package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.yaml.in/yaml/v3"
)

// tables are the files, as written.
type tables struct {
	Defaults   []defaultRow
	Timeouts   []timeoutRow
	Heartbeats []heartbeatRow
	Remedies   []remedyRow
	Closers    []closerRow
	Logs       []logRow
}

type source struct {
	Title   string `yaml:"title"`
	Address string `yaml:"address"`
}

// backing is what every row ends with.
type backing struct {
	Confidence string   `yaml:"confidence"`
	Checked    bool     `yaml:"checked"`
	Measured   bool     `yaml:"measured_here"`
	Shaky      bool     `yaml:"shaky"`
	Sources    []source `yaml:"source"`
}

type defaultRow struct {
	ID          string       `yaml:"id"`
	Name        string       `yaml:"name"`
	Kind        string       `yaml:"kind"`
	Idle        int          `yaml:"idle_s"`
	Interval    int          `yaml:"interval_s"`
	Count       int          `yaml:"count"`
	Backoff     string       `yaml:"retry_backoff"`
	Abort       int          `yaml:"abort_s"`
	ProbeOctets *int         `yaml:"probe_data_len"`
	OnByDefault *bool        `yaml:"on_by_default"`
	Detection   int          `yaml:"detection_s"`
	TimerWheel  bool         `yaml:"timer_wheel"`
	OSValues    bool         `yaml:"os_values"`
	Payload     bool         `yaml:"payload"`
	Formula     string       `yaml:"detection_formula"`
	Units       string       `yaml:"units"`
	Limits      string       `yaml:"limits"`
	Versions    string       `yaml:"versions"`
	AppliesTo   string       `yaml:"applies_to"`
	GivesUpWith string       `yaml:"gives_up_with"`
	Notes       string       `yaml:"notes"`
	Remedies    []string     `yaml:"remedies"`
	UnitMS      int          `yaml:"unit_ms"`
	Sum         string       `yaml:"sum"`
	SingleTimer string       `yaml:"single_timer"`
	Unpaced     bool         `yaml:"unpaced"`
	SetOn       string       `yaml:"set_on"`
	Readings    []readingRow `yaml:"readings"`
	backing     `yaml:",inline"`
}

// readingRow is what one source claims.
type readingRow struct {
	Claim    string   `yaml:"claim"`
	Idle     int      `yaml:"idle_s"`
	Interval int      `yaml:"interval_s"`
	Count    int      `yaml:"count"`
	Abort    int      `yaml:"abort_s"`
	Sums     []string `yaml:"sums"`
	Taken    bool     `yaml:"taken"`
	Source   source   `yaml:"source"`
}

type timeoutRow struct {
	ID                 string   `yaml:"id"`
	Name               string   `yaml:"name"`
	Short              string   `yaml:"short"`
	Class              string   `yaml:"class"`
	Idle               int      `yaml:"idle_timeout_s"`
	State              string   `yaml:"tcp_state"`
	Ports              []int    `yaml:"ports"`
	KeepaliveRefreshes *bool    `yaml:"keepalive_refreshes"`
	AtExpiry           string   `yaml:"at_expiry"`
	OnNextPacket       string   `yaml:"on_next_packet"`
	Range              string   `yaml:"range"`
	Notes              string   `yaml:"notes"`
	HowToChange        []string `yaml:"how_to_change"`
	Common             bool     `yaml:"common"`
	Remedies           []string `yaml:"remedies"`
	backing            `yaml:",inline"`
}

type heartbeatRow struct {
	ID             string      `yaml:"id"`
	Protocol       string      `yaml:"protocol"`
	Ports          []int       `yaml:"tcp_ports"`
	Encrypted      bool        `yaml:"encrypted"`
	Direction      string      `yaml:"direction"`
	Lens           []int       `yaml:"payload_len"`
	Prefixes       []string    `yaml:"prefixes_hex"`
	Contains       string      `yaml:"contains_hex"`
	Answer         string      `yaml:"answer"`
	Unanswered     bool        `yaml:"unanswered"`
	AnswerLens     []int       `yaml:"answer_payload_len"`
	AnswerPrefixes []string    `yaml:"answer_prefixes_hex"`
	Every          string      `yaml:"typical_interval_s"`
	DeadAfter      string      `yaml:"dead_after"`
	Ciphers        []cipherRow `yaml:"payload_len_by_cipher"`
	Match          string      `yaml:"match"`
	Notes          string      `yaml:"notes"`
	Decoded        bool        `yaml:"decoded_by_tshark"`
	backing        `yaml:",inline"`
}

type cipherRow struct {
	Cipher    string `yaml:"cipher"`
	Request   int    `yaml:"request"`
	Answer    int    `yaml:"answer"`
	Keystroke int    `yaml:"one_keystroke_data"`
}

type remedyRow struct {
	ID               string   `yaml:"id"`
	Platform         string   `yaml:"platform"`
	Side             string   `yaml:"side"`
	OneOff           []string `yaml:"one_off"`
	Persistent       []string `yaml:"persistent"`
	AppliesTo        string   `yaml:"applies_to"`
	NeedsSoKeepalive bool     `yaml:"needs_so_keepalive"`
	Caveats          []string `yaml:"caveats"`
	Verify           string   `yaml:"verify"`
	backing          `yaml:",inline"`
}

type closerRow struct {
	ID           string   `yaml:"id"`
	Name         string   `yaml:"name"`
	Ports        []int    `yaml:"ports"`
	Idle         int      `yaml:"idle_s"`
	OffByDefault bool     `yaml:"off_by_default"`
	Sends        string   `yaml:"sends"`
	Who          string   `yaml:"who"`
	Setting      string   `yaml:"setting"`
	Change       []string `yaml:"change"`
	Notes        string   `yaml:"notes"`
	backing      `yaml:",inline"`
}

type logRow struct {
	ID              string   `yaml:"id"`
	Name            string   `yaml:"name"`
	Timeouts        []string `yaml:"timeouts"`
	Search          []string `yaml:"search"`
	Expiry          []string `yaml:"expiry"`
	Counters        []string `yaml:"counters"`
	Enable          []string `yaml:"enable"`
	LoggedByDefault *bool    `yaml:"logged_by_default"`
	Notes           string   `yaml:"notes"`
	backing         `yaml:",inline"`
}

// load reads and checks the tables. A key that no field takes is an
// error: a misspelt one would otherwise read as "not known".
func load(dir fs.FS) (*tables, error) {
	t := new(tables)
	err := errors.Join(
		loadRows(dir, "defaults.yaml", &t.Defaults),
		loadRows(dir, "timeouts.yaml", &t.Timeouts),
		loadRows(dir, "heartbeats.yaml", &t.Heartbeats),
		loadRows(dir, "remedies.yaml", &t.Remedies),
		loadRows(dir, "closers.yaml", &t.Closers),
		loadRows(dir, "logs.yaml", &t.Logs),
	)
	if err != nil {
		return nil, err
	}
	return t, t.check()
}

func loadRows[T any](dir fs.FS, name string, rows *[]T) error {
	file, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var table struct {
		AsOf string `yaml:"as_of"`
		Rows []T    `yaml:"rows"`
	}
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	if err := decoder.Decode(&table); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(table.Rows) == 0 || table.AsOf == "" {
		return fmt.Errorf("%s: no rows or no date", name)
	}
	*rows = table.Rows
	return nil
}

// check returns everything that is wrong with the rows.
func (t *tables) check() error {
	known := make(map[string]bool, len(t.Remedies))
	for _, r := range t.Remedies {
		known[r.ID] = true
	}
	c := checker{remedies: known}
	c.table("defaults.yaml")
	for _, r := range t.Defaults {
		c.row(r.ID, r.backing, r.Remedies)
		c.detection(r)
		c.readings(r)
	}
	c.table("timeouts.yaml")
	for _, r := range t.Timeouts {
		c.row(r.ID, r.backing, r.Remedies)
	}
	c.table("heartbeats.yaml")
	for _, r := range t.Heartbeats {
		c.row(r.ID, r.backing, nil)
	}
	c.table("remedies.yaml")
	for _, r := range t.Remedies {
		c.row(r.ID, r.backing, nil)
	}
	c.table("closers.yaml")
	for _, r := range t.Closers {
		c.row(r.ID, r.backing, nil)
		c.closer(r)
	}
	c.table("logs.yaml")
	for _, r := range t.Logs {
		c.row(r.ID, r.backing, nil)
		c.log(r, t.Timeouts)
	}
	return errors.Join(c.wrong...)
}

type checker struct {
	file     string
	seen     map[string]bool
	remedies map[string]bool
	wrong    []error
}

func (c *checker) table(file string) { c.file, c.seen = file, make(map[string]bool) }

func (c *checker) says(id, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf("%s: row %q: %s", c.file, id, fmt.Sprintf(format, args...)))
}

func (c *checker) row(id string, b backing, remedies []string) {
	if id == "" || c.seen[id] {
		c.says(id, "id is empty or used twice")
	}
	c.seen[id] = true
	switch b.Confidence {
	case "documented", "widely reported", "guess":
	default:
		c.says(id, "unknown confidence %q", b.Confidence)
	}
	if shaky := !b.Checked || b.Confidence == "guess"; shaky != b.Shaky {
		c.says(id, "shaky must be %v", shaky)
	}
	if len(b.Sources) == 0 {
		c.says(id, "no source")
	}
	for _, s := range b.Sources {
		if s.Title == "" || s.Address == "" {
			c.says(id, "a source without title or address")
		}
	}
	for _, remedy := range remedies {
		if !c.remedies[remedy] {
			c.says(id, "no remedy %q", remedy)
		}
	}
}

// detection compares the sum of a row's numbers with its detection time. A
// heartbeat sent at half its timeout follows another sum.
func (c *checker) detection(r defaultRow) {
	if r.Payload || r.Detection == 0 || r.Idle == 0 {
		return
	}
	switch {
	case r.Abort > 0 && r.Idle+r.Abort != r.Detection:
		c.says(r.ID, "%d + %d is not %d", r.Idle, r.Abort, r.Detection)
	case r.Interval > 0 && r.Count > 0 && r.Idle+r.Count*r.Interval != r.Detection:
		c.says(r.ID, "%d + %d × %d is not %d", r.Idle, r.Count, r.Interval, r.Detection)
	}
}

// sums are the ways in which a detection time follows from settings, by their
// names in facts.
var sums = map[string]string{
	"": "", "idle+count*interval": "IdleAndProbes", "count*interval": "Probes",
	"(count+1)*interval": "ProbesAndOne", "idle+abort": "IdleAndAbort",
}

// readings checks that every claim has a source, that exactly one of a row's
// claims is followed, and that their sums are known.
func (c *checker) readings(r defaultRow) {
	if _, known := sums[r.Sum]; !known {
		c.says(r.ID, "unknown sum %q", r.Sum)
	}
	taken := 0
	for _, claim := range r.Readings {
		if claim.Claim == "" || claim.Source.Title == "" || claim.Source.Address == "" {
			c.says(r.ID, "a reading without claim or source")
		}
		for _, sum := range claim.Sums {
			if _, known := sums[sum]; !known || sum == "" {
				c.says(r.ID, "unknown sum %q", sum)
			}
		}
		if claim.Taken {
			taken++
		}
	}
	if len(r.Readings) > 0 && taken != 1 {
		c.says(r.ID, "%d readings are taken, want 1", taken)
	}
}

// closer checks that a row says when it closes, how, and who does it.
func (c *checker) closer(r closerRow) {
	if (r.Idle > 0) == r.OffByDefault {
		c.says(r.ID, "want either a default time or off_by_default")
	}
	switch r.Who {
	case "client", "server", "device":
	default:
		c.says(r.ID, "unknown side %q", r.Who)
	}
	if r.Sends == "" || r.Setting == "" || len(r.Change) == 0 {
		c.says(r.ID, "without what it sends, its setting or how to change it")
	}
}

// log checks that the devices a row speaks of exist.
func (c *checker) log(r logRow, timeouts []timeoutRow) {
	if len(r.Search) == 0 || len(r.Timeouts) == 0 {
		c.says(r.ID, "nothing to search for, or no device")
	}
	for _, id := range r.Timeouts {
		if !slices.ContainsFunc(timeouts, func(t timeoutRow) bool { return t.ID == id }) {
			c.says(r.ID, "no timeout %q", id)
		}
	}
}
