package monitor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"kaflow/analyzer"
	"kaflow/render"
	"kaflow/tcp"
)

// Plain returns a func that writes each event as one line, in the zone and the
// characters that the options name.
func Plain(w io.Writer, o render.Options) func(Event) error {
	zone := o.Location
	if zone == nil {
		zone = time.UTC
	}
	return func(ev Event) error {
		at := ev.At.Time().In(zone).Format("2006-01-02 15:04:05.000")
		parts := []string{at, fmt.Sprintf("%-12s", ev.What)}
		if ev.Client != "" {
			parts = append(parts, ev.Client+" → "+ev.Server)
		}
		if ev.Frame != 0 {
			parts = append(parts, fmt.Sprintf("#%d", ev.Frame))
		}
		if v := ev.Verdict; v != nil {
			parts = append(parts, strings.ToUpper(strings.ReplaceAll(v.ID, "-", " "))+spaceBefore(string(v.Confidence)))
		}
		parts = append(parts, ev.Says)
		_, err := fmt.Fprintln(w, o.Safe(tcp.Untrusted(strings.TrimRight(strings.Join(parts, "  "), " "))))
		return err
	}
}

func spaceBefore(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// eventLine is an event as NDJSON has it.
type eventLine struct {
	Schema      string       `json:"schema"`
	Type        string       `json:"type"`
	Vantage     string       `json:"vantage"`
	At          string       `json:"at"`
	Event       string       `json:"event"`
	Client      *string      `json:"client"`
	Server      *string      `json:"server"`
	Application *string      `json:"application"`
	Frame       *uint64      `json:"frame"`
	Says        string       `json:"says"`
	Verdict     *verdictLine `json:"verdict"`
}

type verdictLine struct {
	ID         string   `json:"id"`
	Confidence *string  `json:"confidence"`
	Cause      *string  `json:"cause"`
	Unknown    []string `json:"unknown"`
}

// NDJSON returns a func that writes each event of a vantage point as one object
// per line.
func NDJSON(w io.Writer, vantage string) func(Event) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(ev Event) error {
		line := lineOf(ev, vantage)
		return e.Encode(line)
	}
}

// lineOf is an event as NDJSON has it.
func lineOf(ev Event, vantage string) eventLine {
	line := eventLine{
		Schema: render.SchemaName, Type: "event", Vantage: safe(vantage), At: stamp(ev.At),
		Event: ev.What, Client: orNull(ev.Client), Server: orNull(ev.Server), Application: orNull(ev.Application), Says: safe(ev.Says), Verdict: verdictOf(ev.Verdict),
	}
	if ev.Frame != 0 {
		line.Frame = &ev.Frame
	}
	return line
}

// togetherLine is what several vantage points say of a connection.
type togetherLine struct {
	eventLine
	Vantages []string `json:"vantages"` // at which it was seen, from client to server
}

// Together returns a func that writes what several vantage points say together
// as one object per line. vantage names them all.
func Together(w io.Writer, vantage string) func(Event, []string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return func(ev Event, seen []string) error {
		names := []string{}
		for _, name := range seen {
			names = append(names, safe(name))
		}
		return e.Encode(togetherLine{lineOf(ev, vantage), names})
	}
}

func verdictOf(v *analyzer.Verdict) *verdictLine {
	if v == nil {
		return nil
	}
	out := &verdictLine{ID: v.ID, Confidence: orNull(string(v.Confidence)), Cause: orNull(v.Cause), Unknown: []string{}}
	for _, u := range v.Unknown {
		out.Unknown = append(out.Unknown, safe(u))
	}
	return out
}

func safe(s string) string { return render.Safe(tcp.Untrusted(s)) }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	s = safe(s)
	return &s
}
