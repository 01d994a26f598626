package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/render"
)

// expect compares the keepalives in captures with what somebody set.
func (a *app) expect(c *cobra.Command, args []string, text string, s settings) error {
	if s.given() {
		return usageError{"--expect takes all values itself: idle=60,interval=10,count=3"}
	}
	if err := refuse(c, "fail-on", "all", "what-if"); err != nil {
		return err
	}
	wanted, err := parseExpectation(text)
	if err != nil {
		return err
	}
	a.ask.Expect = wanted
	tell := func(write func(io.Writer, *analyzer.Report, render.Options) error) func(io.Writer, *analyzer.Report, render.Options) error {
		return func(w io.Writer, r *analyzer.Report, o render.Options) error {
			a.judge(r)
			return write(w, r, o)
		}
	}
	return a.analyze(c, args, []format{{name: "text", write: tell(expectText)}, {name: "json", write: tell(expectJSON)}})
}

// judge notes whether a check failed, or none could be made.
func (a *app) judge(r *analyzer.Report) {
	passed, failed := 0, 0
	for i := range r.Flows {
		for _, c := range r.Flows[i].Checks {
			switch c.Result {
			case analyzer.Pass:
				passed++
			case analyzer.Fail:
				failed++
			}
		}
	}
	if failed > 0 || passed == 0 {
		a.matched = true
	}
	if passed == 0 && failed == 0 {
		a.hint("nothing to verify was seen: capture on the host, let the connection fall silent, break the path beyond the host")
	}
}

// parseExpectation reads "client:idle=60,interval=10,count=3", and ssh's
// "ServerAliveInterval=15,ServerAliveCountMax=3".
func parseExpectation(text string) (*analyzer.Expectation, error) {
	e := &analyzer.Expectation{End: flows.Unclear}
	values := text
	if end, rest, found := strings.Cut(text, ":"); found {
		switch end {
		case "client":
			e.End = flows.Client
		case "server":
			e.End = flows.Server
		default:
			return nil, usageError{fmt.Sprintf("--expect %s: %s is no end, want client: or server:", text, end)}
		}
		values = rest
	}
	known := map[string]func(string) error{
		"idle":     func(v string) (err error) { e.Idle, err = parseSetting("idle", v, time.Second); return err },
		"interval": func(v string) (err error) { e.Interval, err = parseSetting("interval", v, time.Second); return err },
		"count":    func(v string) (err error) { e.Count, err = parseCount("count", v); return err },
	}
	for _, name := range []string{"ServerAliveInterval", "ServerAliveCountMax", "ClientAliveInterval", "ClientAliveCountMax"} {
		known[name] = func(v string) error { return expectAlive(e, name, v) }
	}
	return e, assignments("--expect", values, known)
}

// expectAlive reads a setting of ssh's own heartbeats, which belongs to one end.
func expectAlive(e *analyzer.Expectation, name, v string) (err error) {
	side, count, _ := analyzer.AliveSetting(name)
	if e.End != flows.Unclear && e.End != side {
		return usageError{fmt.Sprintf("%s is a setting of the %s", name, endName(side))}
	}
	if count {
		e.Alive[side].Count, err = parseCount(name, v)
		return err
	}
	e.Alive[side].Interval, err = parseSetting(name, v, time.Second)
	return err
}

// parseCount reads a number of probes.
func parseCount(name, v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxProbes {
		return 0, usageError{fmt.Sprintf("%s %s: want 1 to %d", name, v, maxProbes)}
	}
	return n, nil
}

// parseWhatIf reads "idle=60,interval=10"; nil where nothing is asked.
func parseWhatIf(text string) (*analyzer.WhatIf, error) {
	if text == "" {
		return nil, nil
	}
	w := &analyzer.WhatIf{}
	err := assignments("--what-if", text, map[string]func(string) error{
		"idle":     func(v string) (err error) { w.Idle, err = parseSetting("idle", v, time.Second); return err },
		"interval": func(v string) (err error) { w.Interval, err = parseSetting("interval", v, time.Second); return err },
	})
	if err == nil && w.Idle == 0 {
		err = usageError{fmt.Sprintf("--what-if %s: want idle=T", text)}
	}
	return w, err
}

// assignments reads a comma list of name=value.
func assignments(flag, text string, known map[string]func(string) error) error {
	var names []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, part := range strings.Split(text, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		set := known[name]
		for full, f := range known {
			if strings.EqualFold(full, name) {
				set = f
			}
		}
		switch {
		case !found || value == "":
			return usageError{fmt.Sprintf("%s %s: want name=value, separated by commas; names are %s", flag, text, strings.Join(names, ", "))}
		case set == nil:
			return usageError{fmt.Sprintf("%s %s: no such value%s", flag, name, didYouMean(name, names, "there are "+strings.Join(names, ", ")))}
		}
		if err := set(value); err != nil {
			return usageError{flag + ": " + strings.TrimPrefix(err.Error(), "--")}
		}
	}
	return nil
}

// expectText writes the checks, a section for each connection.
func expectText(w io.Writer, r *analyzer.Report, o render.Options) error {
	var out []render.Section
	for i := range r.Flows {
		d := &r.Flows[i]
		s := render.Section{Head: d.Client + " → " + d.Server, Right: fmt.Sprintf("flow %d of %d", d.ID, r.Totals.Flows)}
		for _, c := range d.Checks {
			s.Topics = append(s.Topics, render.Topic{Name: endName(c.End) + ": " + strings.ToUpper(string(c.Result)), Says: itemsText(&c)})
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		out = []render.Section{{Says: []string{"no TCP connection to verify anything in"}}}
	}
	return render.Sections(w, out, o)
}

func itemsText(c *analyzer.EndCheck) []string {
	var says []string
	for _, item := range c.Items {
		want := strconv.Itoa(item.Count)
		if item.Want > 0 {
			want = fmt.Sprintf("%g s", item.Want.Seconds())
		}
		says = append(says, fmt.Sprintf("%s %s: %s; %s", item.What, want, item.Result, item.Why))
	}
	return says
}

// endName names an end of a connection.
func endName(end uint8) string {
	if end == flows.Server {
		return "server"
	}
	return "client"
}

type expectAnswer struct {
	heading
	Flows []expectFlow `json:"flows"`
}

type expectFlow struct {
	ID     int         `json:"id"`
	Client string      `json:"client"`
	Server string      `json:"server"`
	Ends   []expectEnd `json:"ends"`
}

type expectEnd struct {
	End    string       `json:"end"`
	Result string       `json:"result"`
	Checks []expectItem `json:"checks"`
}

type expectItem struct {
	What      string      `json:"what"`
	Want      float64     `json:"want"`
	Seen      *[2]float64 `json:"seen_s"`
	CountSeen *int        `json:"count_seen"`
	Result    string      `json:"result"`
	Why       string      `json:"why"`
}

func expectJSON(w io.Writer, r *analyzer.Report, o render.Options) error {
	answer := expectAnswer{heading: headingOf("expect"), Flows: []expectFlow{}}
	for i := range r.Flows {
		d := &r.Flows[i]
		f := expectFlow{ID: d.ID, Client: d.Client, Server: d.Server, Ends: []expectEnd{}}
		for _, c := range d.Checks {
			end := expectEnd{End: endName(c.End), Result: string(c.Result), Checks: []expectItem{}}
			for _, item := range c.Items {
				end.Checks = append(end.Checks, expectItemOf(&item))
			}
			f.Ends = append(f.Ends, end)
		}
		answer.Flows = append(answer.Flows, f)
	}
	return encode(w, answer, o)
}

func expectItemOf(item *analyzer.CheckItem) expectItem {
	j := expectItem{What: item.What, Want: item.Want.Seconds(), Result: string(item.Result), Why: item.Why}
	if item.Want == 0 {
		j.Want = float64(item.Count)
	}
	if item.Seen.Known {
		j.Seen = &[2]float64{item.Seen.Min.Seconds(), item.Seen.Max.Seconds()}
	}
	if item.Counts > 0 {
		j.CountSeen = &item.Counts
	}
	return j
}
