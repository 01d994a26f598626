package analyzer

import (
	"fmt"
	"slices"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// maxDeaths bounds the deaths that are compared on one path: the shortest
// silences that killed, which are the ones that a longer one survived can
// contradict.
const maxDeaths = 256

// pathLimit collects what the connections of a path show of its idle limit.
type pathLimit struct {
	Path
	alive    []survivor // the longest survived, by who ended it and by the way of its segments
	deaths   []death
	leftOut  string // why a death was left out; "" none was
	left     time.Duration
	plainest time.Duration // the longest survived of which only the length is known
}

// survivor is a silence that a connection survived.
type survivor struct {
	length time.Duration
	ended  uint8 // by this side; flows.Unclear where that is not known
	way    [2]int8
	ref    IdleBracket
}

// death is a silence that killed a connection.
type death struct {
	length   time.Duration
	ended    uint8
	both     bool // what either end sent was lost
	way      [2]int8
	from, at tcp.Instant
	ref      IdleBracket
}

func newPathLimit(between [2]string) *pathLimit {
	return &pathLimit{Path: Path{Between: between, Limit: nothingMeasured()}}
}

// wayOf returns how many routers each side's segments had passed where the
// capture furthest from it saw them; -1 where that was not constant.
func wayOf(s *Subject) [2]int8 {
	way := [2]int8{-1, -1}
	for side := uint8(0); side < 2; side++ {
		f := s.nearest(1 - side)
		if ttls := f.Sides[side].TTLs; ttls[0] != 0 && ttls[0] == ttls[1] {
			way[side] = int8(min(hops(ttls[0]), 127))
		}
	}
	return way
}

func sideNamed(name string) uint8 {
	switch name {
	case "client":
		return flows.Client
	case "server":
		return flows.Server
	}
	return flows.Unclear
}

// join adds what one connection shows.
func (p *pathLimit) join(b *brief) {
	limits := b.limits()
	x := &limits
	for side := uint8(0); side < 2; side++ {
		if x.SurvivedBy[side] >= time.Second {
			p.survive(survivor{x.SurvivedBy[side], side, b.way, *x})
		}
	}
	if x.Survived > max(x.SurvivedBy[0], x.SurvivedBy[1]) {
		p.survive(survivor{x.Survived, flows.Unclear, b.way, *x})
	}
	p.Limit.SurvivedRelearned = max(p.Limit.SurvivedRelearned, x.SurvivedRelearned)
	if x.RefreshedBy != "unknown" {
		p.Limit.RefreshedBy = x.RefreshedBy
	}
	switch {
	case x.Killed == 0:
	case x.Unsettled != "":
		if p.leftOut == "" || x.Killed < p.left {
			p.leftOut, p.left = x.Unsettled, x.Killed
		}
	default:
		p.deaths = append(p.deaths, death{x.Killed, sideNamed(x.Direction), x.BothDied, b.way, b.from, b.at, *x})
		if len(p.deaths) > maxDeaths {
			p.sortDeaths()
			p.deaths = p.deaths[:maxDeaths/2]
		}
	}
}

func (p *pathLimit) sortDeaths() {
	slices.SortStableFunc(p.deaths, func(a, b death) int { return int(min(max(a.length-b.length, -1), 1)) })
}

// survive keeps the longest of each kind.
func (p *pathLimit) survive(x survivor) {
	for i := range p.alive {
		if a := &p.alive[i]; a.ended == x.ended && a.way == x.way {
			if x.length > a.length {
				*a = x
			}
			return
		}
	}
	if len(p.alive) < maxDeaths {
		p.alive = append(p.alive, x)
	}
}

// outlived adds a silence of which nothing but its length is known.
func (p *pathLimit) outlived(length time.Duration) {
	if length >= time.Second && length > p.plainest {
		p.plainest = length
		p.survive(survivor{length: length, ended: flows.Unclear, way: [2]int8{-1, -1}})
	}
}

// longest returns the longest silence survived of those that ok accepts.
func (p *pathLimit) longest(ok func(*survivor) bool) (best *survivor) {
	for i := range p.alive {
		if a := &p.alive[i]; ok(a) && (best == nil || a.length > best.length) {
			best = a
		}
	}
	return best
}

// settle joins all into a bracket. Silences that killed and longer ones that
// were survived are never averaged: the likely reason is named, and a bracket is
// claimed only of what the reason leaves.
func (p *pathLimit) settle() Path {
	p.sortDeaths()
	any := func(*survivor) bool { return true }
	longest := p.longest(any)
	if len(p.deaths) == 0 {
		p.claim(longest, nil)
		if p.leftOut != "" {
			p.Note = fmt.Sprintf("a silence of %s killed a connection of which %s: devices use a shorter timer for such, and it is left out", facts.Compact(p.left), p.leftOut)
		}
		return p.Path
	}
	shortest := &p.deaths[0]
	switch {
	case longest == nil || longest.length < shortest.length:
		p.claim(p.longest(shortest.counts), shortest)
		if l := &p.Limit; longest != nil && longest.length > l.Survived {
			l.SurvivedRelearned = max(l.SurvivedRelearned, longest.length)
		}
	case p.otherSide(shortest), p.otherWay(shortest), p.oneMoment():
	default:
		p.Note = fmt.Sprintf("contradiction: a silence of %s was survived by one connection while %s killed another, and nothing tells why: state that was lost, a full table, or several devices; no limit is claimed",
			facts.Compact(longest.length), facts.Compact(shortest.length))
		p.claim(longest, nil)
	}
	p.contradicted = p.Note != ""
	p.Fits = fitsOf(p.Limit)
	return p.Path
}

// counts reports whether a silence that was survived tells of the limit for what
// died: who spoke first after it spoke in vain after the one that killed, so the
// device does not learn anew from that side.
func (d *death) counts(a *survivor) bool {
	return d.both || d.ended == flows.Unclear || a.ended == d.ended
}

func (p *pathLimit) claim(s *survivor, d *death) {
	l := &p.Limit
	if s != nil {
		l.Survived, l.SurvivedRef = s.length, s.ref.SurvivedRef
	}
	if d != nil {
		l.Killed, l.KilledRef, l.Direction = d.length, d.ref.KilledRef, d.ref.Direction
	}
}

// otherSide recognises a device that learns a connection anew from one side:
// every silence that was survived although a shorter one killed was ended by
// the other side than the one that killed.
func (p *pathLimit) otherSide(shortest *death) bool {
	if shortest.ended == flows.Unclear {
		return false
	}
	for i := range p.deaths {
		if p.deaths[i].ended != shortest.ended {
			return false
		}
	}
	over := p.longest(func(a *survivor) bool { return a.length >= shortest.length && a.ended != 1-shortest.ended })
	if over != nil {
		return false
	}
	relearned := p.longest(func(a *survivor) bool { return a.length >= shortest.length })
	p.claim(p.longest(func(a *survivor) bool { return a.length < shortest.length && shortest.counts(a) }), shortest)
	p.Limit.SurvivedRelearned = max(p.Limit.SurvivedRelearned, relearned.length)
	p.Note = fmt.Sprintf("contradiction: a silence of %s was survived where the %s spoke first, while %s killed where the %s did: the device learns a connection anew from the %s's side, and the limit is that of the %s's packets",
		facts.Compact(relearned.length), sideName(1-shortest.ended), facts.Compact(shortest.length), sideName(shortest.ended), sideName(1-shortest.ended), sideName(shortest.ended))
	return true
}

// otherWay recognises several devices: what died had come another way, by the
// number of routers, than all that survived as long.
func (p *pathLimit) otherWay(shortest *death) bool {
	for i := range p.deaths {
		if p.deaths[i].way != shortest.way {
			return false
		}
	}
	if shortest.way[0] < 0 || shortest.way[1] < 0 {
		return false
	}
	same := func(a *survivor) bool { return a.way == shortest.way }
	over := p.longest(func(a *survivor) bool {
		return a.length >= shortest.length && (same(a) || a.way[0] < 0 || a.way[1] < 0)
	})
	if over != nil {
		return false
	}
	other := p.longest(func(a *survivor) bool { return !same(a) })
	p.claim(p.longest(same), shortest)
	p.Note = fmt.Sprintf("contradiction: a silence of %s was survived by connections that come over %s, while %s killed one that comes over %s: several ways with devices of their own; the limit is that of the way of what died",
		facts.Compact(other.length), wayText(other.way), facts.Compact(shortest.length), wayText(shortest.way))
	return true
}

func wayText(way [2]int8) string {
	return fmt.Sprintf("%s from the client and %s from the server", plural(int(way[0]), "router"), plural(int(way[1]), "router"))
}

// oneMoment recognises state that was lost at once: two connections and more
// can all have died at one moment, and longer silences were survived.
func (p *pathLimit) oneMoment() bool {
	if len(p.deaths) < 2 {
		return false
	}
	from, to := p.deaths[0].from, p.deaths[0].at
	for _, d := range p.deaths[1:] {
		from, to = max(from, d.from), min(to, d.at)
	}
	if from > to {
		return false
	}
	longest := p.longest(func(*survivor) bool { return true })
	p.claim(longest, nil)
	p.atOnce = true
	p.Note = fmt.Sprintf("contradiction: a silence of %s was survived, and %d connections died after %s and more; all of them can have died at one moment, between %s and %s UTC: state that was lost at once (flush, reboot, fail-over), no idle timer, and no limit is claimed",
		facts.Compact(longest.length), len(p.deaths), facts.Compact(p.deaths[0].length), from.Time().UTC().Format("15:04:05"), to.Time().UTC().Format("15:04:05"))
	return true
}

// share lets a connection that died on a path profit from what others survived
// there.
func share(b *IdleBracket, path [2]string, known []Path) {
	if b.Killed == 0 {
		return
	}
	for i := range known {
		l := &known[i].Limit
		if known[i].Between == path && l.Killed > 0 && l.Survived > b.Survived && l.Survived < b.Killed && (b.BothDied || l.Direction == b.Direction) {
			b.Survived, b.SurvivedRef = l.Survived, l.SurvivedRef
		}
	}
}

// contradicted takes back the idle limit that a connection's death seemed to
// show, where others of the same path contradict it, and names what they show
// instead.
func contradicted(d *Diagnosis, path [2]string, known []Path) {
	for i := range known {
		p := &known[i]
		if p.Between != path || p.Note == "" || d.Idle.Killed == 0 || p.Limit.Killed > 0 {
			continue
		}
		d.Idle.Killed, d.Idle.KilledRef, d.Idle.Direction = 0, pairing.Ref{}, "unknown"
		if v := &d.Verdict; p.contradicted && v.Cause == "idle-expiry" {
			v.Cause, v.CauseConfidence, v.CauseWhy = "unknown", None, p.Note
			if p.atOnce {
				v.Cause, v.CauseConfidence = "state-lost", Likely
			}
		}
	}
}

// maxPaths bounds the paths of a report.
const maxPaths = 1000

// paths joins the brackets of all connections of the same path. Contradictions
// are named, never averaged.
func (d *desk) paths(cases []*brief) []Path {
	var order [][2]string
	byPath := map[[2]string]*pathLimit{}
	for _, b := range cases {
		if b.path == ([2]string{}) {
			continue
		}
		p := byPath[b.path]
		if p == nil {
			if len(order) == maxPaths {
				continue
			}
			p = newPathLimit(b.path)
			byPath[b.path] = p
			order = append(order, b.path)
		}
		p.join(b)
	}
	d.joinPlain(byPath)
	var out []Path
	for _, k := range order {
		out = append(out, byPath[k].settle())
	}
	return out
}

// joinPlain adds what connections in which nothing happened survived on the
// paths on which others died.
func (d *desk) joinPlain(byPath map[[2]string]*pathLimit) {
	if d.survived == 0 || len(byPath) == 0 {
		return
	}
	for i := range d.result.Plain {
		x := &d.result.Plain[i]
		if p := byPath[[2]string{d.points[x.Ends[0]].Name, d.points[x.Ends[1]].Name}]; p != nil && x.Survived >= time.Second {
			p.outlived(x.Survived)
		}
	}
	if !d.single() {
		return
	}
	for g := range d.points[0].Table.Glances() {
		if !g.Settled(d.spans[0].last) || g.Survived < time.Second {
			continue
		}
		lo, hi := g.Key.LoEnd().Addr().String(), g.Key.HiEnd().Addr().String()
		for _, k := range [2][2]string{{lo, hi}, {hi, lo}} {
			if p := byPath[k]; p != nil {
				p.outlived(g.Survived)
			}
		}
	}
}
