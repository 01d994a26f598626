package monitor

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/render"
	"kaflow/tcp"
)

// Row is a connection as a screen shows it, as of Engine.Rows.
type Row struct {
	ID             flows.FlowID
	State          string // alive, failing, at-risk or dead
	Client, Server string
	Application    string
	Idle           time.Duration   // since its newest segment
	Limit          time.Duration   // of the path, 0 where it is not known
	Next           time.Duration   // until the next probe is due
	NextKnown      bool            // the pace of its probes is known
	Sent, Answered uint32          // keepalive probes
	Gaps           []time.Duration // its longest silences, in time order
	Verdict        string          // of the dead
	Confidence     string
	Says           string
}

// Doomed reports whether the next probe comes too late for the path's limit, or
// none is known to come.
func (r *Row) Doomed() bool {
	return r.State != "dead" && r.Limit > 0 && (!r.NextKnown || r.Idle+r.Next > r.Limit)
}

// Danger ranks connections: the dead first, then those that fail, those that
// will die before their next probe, the nearest to their limit first.
func (r *Row) Danger(other *Row) int {
	rank := func(r *Row) int {
		switch {
		case r.State == "dead":
			return 0
		case r.State == "failing":
			return 1
		case r.State == "at-risk":
			return 2
		case r.Doomed():
			return 3
		}
		return 4
	}
	return cmp.Or(cmp.Compare(rank(r), rank(other)), cmp.Compare(other.Idle, r.Idle), cmp.Compare(r.ID, other.ID))
}

// Rows returns connections, the most endangered first: all where they are no
// more than limit, else those in danger before the others.
func (e *Engine) Rows(limit int) []Row {
	now := e.Table.Now()
	var urgent, calm []flows.FlowID
	for id, w := range e.flows {
		switch w.state() {
		case "":
		case "alive":
			calm = append(calm, id)
		default:
			urgent = append(urgent, id)
		}
	}
	if len(urgent)+len(calm) > limit { // the same ones every time
		slices.Sort(urgent)
		slices.Sort(calm)
	}
	ids := append(urgent, calm...)
	rows := make([]Row, 0, min(limit, len(ids)))
	for _, id := range ids[:min(limit, len(ids))] {
		if f, ok := e.Table.Flow(id); ok {
			rows = append(rows, e.row(f, e.flows[id], now))
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Danger(&b) })
	return rows
}

func (e *Engine) row(f *flows.Flow, w *watched, now tcp.Instant) Row {
	r := Row{
		ID: f.ID, State: w.state(), Client: f.Sides[flows.Client].Addr.String(), Server: f.Sides[flows.Server].Addr.String(),
		Idle: max(0, now.Sub(f.Last)), Limit: e.o.PathLimit, Says: joining(f),
	}
	r.Application, _ = f.Application()
	for s := range f.Sides {
		side := &f.Sides[s]
		r.Sent, r.Answered = r.Sent+side.Probes, r.Answered+side.Answered
		if !side.Period.Known {
			continue
		}
		// Its timer begins anew with whatever comes in.
		if next := max(0, f.Last.Add(side.Period.Max).Sub(now)); !r.NextKnown || next < r.Next {
			r.Next, r.NextKnown = next, true
		}
	}
	for _, g := range f.Gaps {
		r.Gaps = append(r.Gaps, g.Duration())
	}
	switch o, dead := e.obituaries[f.ID]; {
	case dead && r.State == "dead":
		r.Verdict, r.Confidence, r.Says = o.ID, string(o.Confidence), o.Summary
	case r.State == "failing":
		r.Says = "a keepalive probe got no answer"
	case r.Limit > 0:
		r.Says = r.prospect()
	case r.NextKnown:
		r.Says = "next probe in " + short(r.Next)
	}
	return r
}

// prospect says what comes first, the next probe or the path's limit.
func (r *Row) prospect() string {
	next := paceless(r.Sent, r.Answered)
	if r.NextKnown {
		next = "next probe in " + short(r.Next)
	}
	text := "idle " + short(r.Idle) + " of " + short(r.Limit) + ", " + next
	if r.Doomed() {
		return "will die: " + text
	}
	return text
}

// Detail returns the report on one connection as of now, as lines of text.
func (e *Engine) Detail(id flows.FlowID, o render.Options) []string {
	report, ok := analyzer.OneReport(e.Point(), id, analyzer.Options{})
	if !ok {
		return []string{"this connection is no longer held"}
	}
	var text bytes.Buffer
	if err := render.Text(&text, report, o); err != nil {
		return []string{err.Error()}
	}
	return strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
}
