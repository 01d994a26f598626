package analyzer

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"kaflow/flows"
)

// list ranks the connections, joins their brackets and writes the details of
// those that the report holds.
func (d *desk) list(cases []*brief, r *Report, o Options) {
	most := o.MaxListed
	switch {
	case o.Passing:
		most = math.MaxInt
	case most == 0:
		most = 10_000
	}
	r.Paths = d.paths(cases)
	d.answer(cases, r)
	slices.SortStableFunc(cases, func(a, b *brief) int { return cmp.Compare(a.danger, b.danger) })
	kept := 0
	for place, diag := range d.made(cases, r, most, o.Flow, 0) {
		r.Flows = append(r.Flows, *diag)
		if kept = place; o.Passing && kept == mostInDanger {
			break
		}
	}
	if r.Totals.Listed = len(r.Flows); o.Passing && kept < r.Totals.Flows {
		r.Totals.Listed += r.Totals.Flows - kept
		r.Rest = func(yield func(*Diagnosis) bool) {
			for _, diag := range d.made(cases, r, most, o.Flow, kept) {
				if !yield(diag) {
					return
				}
			}
		}
	}
}

// made yields the diagnoses of the connections that are listed behind a place, with
// their places, and notes which rules could not be asked so far.
func (d *desk) made(cases []*brief, r *Report, most, asked, behind int) iter.Seq2[int, *Diagnosis] {
	return func(yield func(int, *Diagnosis) bool) {
		place := 0
		for n, b := range d.listed(cases, most, asked) {
			if place++; place <= behind {
				continue
			}
			if s := d.subject(b); s != nil {
				if diag := d.detail(s, b, n, r.Paths); !yield(place, &diag) {
					break
				}
			}
		}
		r.Unasked = nil
		for _, k := range sortedKeys(d.unasked) {
			r.Unasked = append(r.Unasked, d.unasked[k])
		}
	}
}

// listed yields the connections that the report holds, with their numbers: the
// first ones, those that ask for attention, and the one that was asked for.
func (d *desk) listed(cases []*brief, most, asked int) iter.Seq2[int, *brief] {
	return func(yield func(int, *brief) bool) {
		for n := range cases {
			if (n < most || n < mostInDanger && cases[n].danger < harmless || n+1 == asked) && !yield(n+1, cases[n]) {
				return
			}
		}
		n := len(cases)
		for kind, plain := range d.plain {
			for _, c := range plain {
				if n++; n > most && n != asked {
					if n > asked {
						break
					}
					continue
				}
				b := &brief{index: -1}
				if d.single() {
					b.id, b.settled = flows.FlowID(c), kind > int(plainIdle)
				} else {
					b.pair = &d.result.Plain[c]
				}
				if !yield(n, b) {
					return
				}
			}
		}
	}
}

func (d *desk) subject(b *brief) *Subject {
	switch {
	case b.index >= 0:
		return d.subjects[b.index]
	case b.pair != nil:
		return d.open(b.pair)
	}
	s := d.fetch(b.id)
	if s != nil {
		s.Settled = b.settled
	}
	return s
}

// detail is the full diagnosis of one connection.
func (d *desk) detail(s *Subject, b *brief, id int, known []Path) Diagnosis {
	s.alone = d.alone(s)
	diag := d.diagnose(s)
	s.nameLikes(diag.Policies)
	diag.ID = id
	if b.causeWhy != "" {
		diag.Verdict.CauseConfidence, diag.Verdict.CauseWhy = Proven, b.causeWhy
	}
	share(&diag.Idle, b.path, known)
	contradicted(&diag, b.path, known)
	diag.Verdict.limitCause()
	for i := range diag.Policies {
		diag.Policies[i].Remark = remark(&diag.Policies[i], &diag.Idle)
	}
	nameRefresher(diag.Policies, &diag.Verdict)
	diag.Remedies = remedies(s, &diag)
	diag.Owner = askOwner(s, &diag)
	if d.whatIf != nil {
		w := d.whatIf.would(b.circumstances(known, &diag))
		diag.WhatIf = &w
	}
	if d.expect != nil {
		diag.Checks = expect(s, d.expect)
	}
	diag.Timeline = timeline(s)
	diag.Filters = filters(s, &diag)
	diag.Spans = spans(s)
	if b.path != ([2]string{}) {
		diag.Path = 1 + slices.IndexFunc(known, func(p Path) bool { return p.Between == b.path })
	}
	return diag
}

// answer counts the answers to a WhatIf over all connections.
func (d *desk) answer(cases []*brief, r *Report) {
	if d.whatIf == nil {
		return
	}
	r.Totals.ByWhatIf = map[string]int{}
	for i := range cases {
		r.Totals.ByWhatIf[d.whatIf.would(cases[i].circumstances(r.Paths, nil)).Answer]++
	}
	if plain := r.Totals.Flows - len(cases); plain > 0 {
		r.Totals.ByWhatIf[NothingToSave] += plain
	}
}

// circumstances are what a WhatIf asks about; of a connection that was plain,
// diag knows more than the brief.
func (b *brief) circumstances(known []Path, diag *Diagnosis) *circumstances {
	c := &circumstances{verdict: b.verdict, cause: b.cause, limit: b.limits(), interval: b.interval, port: int(b.port)}
	if diag != nil {
		c.verdict, c.cause = diag.Verdict.ID, diag.Verdict.Cause
	}
	share(&c.limit, b.path, known)
	for i := range known {
		if known[i].Between == b.path {
			if known[i].Limit.Killed == 0 {
				c.note = known[i].Note
			}
			if known[i].Limit.RefreshedBy != "unknown" {
				c.limit.RefreshedBy = known[i].Limit.RefreshedBy
			}
		}
	}
	return c
}

// spans resolves the first and last frame of every sighting.
func spans(s *Subject) []Span {
	out := make([]Span, len(s.Seen))
	for i, seen := range s.Seen {
		f := seen.Flow
		out[i] = Span{
			First: refAt(s.Points, seen.Vantage, f.FirstOrd, flows.Unknown, f.First),
			Last:  refAt(s.Points, seen.Vantage, f.LastOrd, flows.Unknown, f.Last),
		}
	}
	return out
}
