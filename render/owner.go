package render

import (
	"fmt"
	"slices"
	"strings"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/tcp"
)

// mostCaveats is how many caveats of one remedy a text report shows.
const mostCaveats = 2

// caveats lists what to know about the remedies of a flow.
func (p *page) caveats(d *analyzer.Diagnosis) []string {
	says := slices.Clone(d.Caveats)
	for i := range d.Remedies {
		m := &d.Remedies[i]
		for j, c := range m.Caveats {
			if j < mostCaveats || p.All {
				says = append(says, m.System+": "+c)
			}
		}
	}
	return says
}

// answerText says an answer to a what-if in words.
func answerText(answer string) string {
	switch answer {
	case analyzer.WouldLive:
		return "it would have lived"
	case analyzer.WouldLikely:
		return "it would likely have lived"
	case analyzer.WouldPerhaps:
		return "it would perhaps have lived"
	case analyzer.WouldDie:
		return "it would have died all the same"
	case analyzer.WouldNotHelp:
		return "that would not have helped"
	case analyzer.NothingToSave:
		return "nothing to save"
	}
	return "that cannot be said"
}

// wouldText answers a what-if for one flow, "" where none was asked.
func wouldText(w *analyzer.Would) string {
	if w == nil {
		return ""
	}
	return fmt.Sprintf("keepalive idle %s, interval %s: %s: %s", seconds(w.Idle), seconds(w.Interval), answerText(w.Answer), w.Why)
}

// whatIfTotal counts the answers over all flows, where there are several.
func whatIfTotal(r *analyzer.Report) string {
	if r.WhatIf == nil || r.Totals.Flows < 2 {
		return ""
	}
	var parts []string
	for _, answer := range []string{
		analyzer.WouldLive, analyzer.WouldLikely, analyzer.WouldPerhaps, analyzer.WouldDie, analyzer.WouldNotHelp, analyzer.WouldNotKnow, analyzer.NothingToSave,
	} {
		if n := r.Totals.ByWhatIf[answer]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d: %s", n, answerText(answer)))
		}
	}
	return fmt.Sprintf("keepalive idle %s, of %s %s", seconds(r.WhatIf.Idle), count(r.Totals.Flows, "flow"), strings.Join(parts, "; "))
}

// utcMoment is an exact time for another's log.
func utcMoment(t tcp.Instant) string { return t.Time().UTC().Format("2006-01-02 15:04:05.000") }

// mostSearches is how many devices' logs a text report names.
const mostSearches = 5

// owner writes what to ask the owner of the device between.
func (p *page) owner(r *analyzer.Report, d *analyzer.Diagnosis) []string {
	o := d.Owner
	if o == nil {
		return nil
	}
	says := []string{"times are UTC, by the clock of the capture named; compare with the device's clock first"}
	says = append(says, clocksOfOwner(r, o)...)
	says = append(says, namesText(r, o)...)
	if o.Forgot[0] != 0 {
		what := "its state went"
		if o.Expiry {
			what = "if an idle timer did it, it ran out"
		}
		says = append(says, fmt.Sprintf("%s between %s and %s (%s)", what, utcMoment(o.Forgot[0]), utcMoment(o.Forgot[1]), vantageName(r, 0)))
	}
	for _, lost := range o.Dropped {
		text := fmt.Sprintf("%s of the %s's dropped, %s", count(lost.Count, "packet"), endName(lost.From), utcMoment(lost.First))
		if lost.Last > lost.First {
			text += " to " + utcMoment(lost.Last)
		}
		text += " (" + vantageName(r, lost.Vantage) + ")"
		if lost.Assumed > 0 {
			text += fmt.Sprintf(", %d of them when the other capture may no longer have been recording", lost.Assumed)
		}
		says = append(says, text)
	}
	if f := o.Forged; f != nil {
		says = append(says, fmt.Sprintf("it sent a RST in the %s's name, %s (%s)", endName(f.As), utcMoment(f.At), vantageName(r, f.Vantage)))
	}
	head := "to search its log for (many devices do not log this by default):"
	if o.Any {
		head = "to search its log for, whichever it is (many devices do not log this by default):"
	}
	says = append(says, head)
	for _, s := range o.Searches[:min(mostSearches, len(o.Searches))] {
		says = append(says, searchText(&s))
	}
	return append(says, "(kaflow facts logs: how to make these and other devices log it)")
}

// clocksOfOwner says how the clocks compare by which the times are: that of the
// first vantage point and of those that saw what was dropped.
func clocksOfOwner(r *analyzer.Report, o *analyzer.OwnerRequest) []string {
	named := []int{0}
	for _, lost := range o.Dropped {
		named = append(named, lost.Vantage)
	}
	var says []string
	var told [][2]int
	for i := range r.Clocks {
		c := &r.Clocks[i]
		pair := [2]int{c.From, c.To}
		if slices.Contains(named, c.From) && slices.Contains(named, c.To) && !slices.Contains(told, pair) {
			told = append(told, pair)
			says = append(says, clockText(c, vantageName(r, c.From), vantageName(r, c.To)))
		}
	}
	return says
}

// namesText says how the connection is called on each side, once where all
// sides call it the same.
func namesText(r *analyzer.Report, o *analyzer.OwnerRequest) []string {
	var says []string
	for _, n := range o.Names {
		if n.Client != o.Names[0].Client || n.Server != o.Names[0].Server {
			says = nil
			for _, n := range o.Names {
				says = append(says, fmt.Sprintf("the connection at %s: %s → %s", vantageName(r, n.Vantage), n.Client, n.Server))
			}
			return says
		}
		says = []string{fmt.Sprintf("the connection, alike on all sides: %s → %s", n.Client, n.Server)}
	}
	return says
}

func searchText(s *analyzer.Search) string {
	name := s.Device
	if s.Shaky {
		name += " (shaky)"
	}
	text := hanging + name + ": " + strings.Join(s.For, "; ")
	if len(s.Expiry) > 0 {
		text += "; at expiry " + strings.Join(s.Expiry, "; ")
	}
	return text
}

type wouldDoc struct {
	Idle     nano `json:"idle_s"`
	Interval nano `json:"interval_s"`
	Answer   text `json:"answer"`
	Why      text `json:"why"`
}

func wouldOf(w *analyzer.Would) *wouldDoc {
	if w == nil {
		return nil
	}
	return &wouldDoc{nano(w.Idle), nano(w.Interval), text(w.Answer), text(w.Why)}
}

type ownerDoc struct {
	Names        []namesDoc   `json:"names"`
	ForgotAfter  *moment      `json:"forgot_after"`
	ForgotBefore *moment      `json:"forgot_before"`
	Dropped      []droppedDoc `json:"dropped"`
	Forged       *forgedDoc   `json:"forged_reset"`
	Searches     []searchDoc  `json:"searches"`
	IdleExpiry   bool         `json:"idle_expiry"`
	AnyDevice    bool         `json:"any_device"`
	Note         text         `json:"note"`
}

type namesDoc struct {
	Vantage string `json:"vantage"`
	Client  text   `json:"client"`
	Server  text   `json:"server"`
}

type droppedDoc struct {
	From    string  `json:"from"`
	Vantage string  `json:"vantage"`
	Count   int     `json:"count"`
	Assumed int     `json:"assumed"`
	First   *moment `json:"first"`
	Last    *moment `json:"last"`
}

type forgedDoc struct {
	As      string  `json:"as"`
	Vantage string  `json:"vantage"`
	At      *moment `json:"at"`
}

func forgedOf(r *analyzer.Report, f *analyzer.Forged) *forgedDoc {
	if f == nil {
		return nil
	}
	return &forgedDoc{endWord(f.As), vantageName(r, f.Vantage), instant(f.At)}
}

type searchDoc struct {
	Device          text   `json:"device"`
	For             []text `json:"for"`
	Expiry          []text `json:"expiry"`
	Enable          []text `json:"enable"`
	LoggedByDefault text   `json:"logged_by_default"`
	Shaky           bool   `json:"shaky"`
}

func ownerOf(r *analyzer.Report, o *analyzer.OwnerRequest) *ownerDoc {
	if o == nil {
		return nil
	}
	return &ownerDoc{
		Names: mapped(o.Names, func(n *analyzer.Names) namesDoc {
			return namesDoc{vantageName(r, n.Vantage), text(n.Client), text(n.Server)}
		}),
		ForgotAfter: instant(o.Forgot[0]), ForgotBefore: instant(o.Forgot[1]),
		Dropped: mapped(o.Dropped, func(l *analyzer.Dropped) droppedDoc {
			return droppedDoc{endWord(l.From), vantageName(r, l.Vantage), l.Count, l.Assumed, instant(l.First), instant(l.Last)}
		}),
		Forged: forgedOf(r, o.Forged),
		Searches: mapped(o.Searches, func(s *analyzer.Search) searchDoc {
			return searchDoc{text(s.Device), texts(s.For), texts(s.Expiry), texts(s.Enable), text(s.Default), s.Shaky}
		}),
		IdleExpiry: o.Expiry, AnyDevice: o.Any, Note: "many devices do not log this by default; times are UTC by the clock of the vantage point, forgot_after and forgot_before by the first one's",
	}
}

// endWord is an end in one word, for programs.
func endWord(end uint8) string {
	if end == flows.Server {
		return "server"
	}
	return "client"
}
