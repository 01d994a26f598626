package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// knowledge returns what the user says of the vantage points.
func (a *app) knowledge(c *cobra.Command, points []point) (pairing.Options, error) {
	o := pairing.Options{Covers: map[int][]capture.Interval{}, Roles: map[int]uint8{}}
	if c.Flags().Changed("clock-offset") {
		if len(points) != 2 {
			return o, usageError{fmt.Sprintf("--clock-offset needs two vantage points, found %d", len(points))}
		}
		o.ClockOffset = &a.flags.offset
	}
	for i := range points {
		role, known := map[string]uint8{"client": flows.Client, "server": flows.Server}[points[i].name]
		if known && points[i].named {
			o.Roles[i] = role
		}
	}
	for _, text := range a.flags.covers {
		i, span, err := parseCovers(text, points)
		if err != nil {
			return o, err
		}
		o.Covers[i] = append(o.Covers[i], span)
	}
	return o, nil
}

// parseCovers reads NAME=FROM..UNTIL.
func parseCovers(text string, points []point) (int, capture.Interval, error) {
	var span capture.Interval
	wrong := func(what string) (int, capture.Interval, error) {
		return 0, span, usageError{fmt.Sprintf("--covers %s: %s", text, what)}
	}
	name, times, found := cutLast(text, "=")
	from, until, ranged := strings.Cut(times, "..")
	if !found || !ranged {
		return wrong("want NAME=FROM..UNTIL")
	}
	i := slices.IndexFunc(points, func(p point) bool { return p.name == name })
	if i < 0 {
		return wrong(fmt.Sprintf("no vantage point is called %s", name))
	}
	for _, side := range []struct {
		text string
		to   *tcp.Instant
	}{{from, &span.From}, {until, &span.To}} {
		t, err := time.Parse(time.RFC3339Nano, side.text)
		if err != nil {
			return wrong(fmt.Sprintf("%s is not RFC 3339", side.text))
		}
		*side.to = tcp.Instant(t.UnixNano())
	}
	if span.To < span.From {
		return wrong("it ends before it begins")
	}
	return i, span, nil
}

// cutLast cuts s around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
