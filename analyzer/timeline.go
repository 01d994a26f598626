package analyzer

import (
	"fmt"
	"time"

	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// timelineRows bounds the rows of one flow's timeline.
const timelineRows = 60

// timeline lays a subject's passages out as rows: what happened, in time
// order, with silences and regular stretches as one row each.
func timeline(s *Subject) []Row {
	pos := make(map[int]int, len(s.Path))
	for i, v := range s.Path {
		pos[v] = i
	}
	var rows []Row
	longest := time.Duration(0)
	for i := range s.Passages {
		if d, before := s.silence(i); before >= 0 {
			longest = max(longest, d)
		}
	}
	for i := 0; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		if d, before := s.silence(i); before >= 0 && d >= time.Second && d >= longest/20 && !inTrain(s, before, i) {
			gap := Row{Kind: RowGap, At: s.Passages[before].Until, Until: p.At, Idle: d, From: p.From}
			if s.cut() >= 0 {
				gap.Note = "as far as is kept"
			}
			rows = append(rows, gap)
		}
		if n := s.trainLength(i); n > 3 {
			rows = append(rows, s.foldTrain(i, n, pos)...)
			i += n - 1
			continue
		}
		row := s.row(p, pos)
		row.Unanswered = asks(p) && !passed(s, i)
		rows = append(rows, row)
	}
	return shorten(rows)
}

// asks reports whether a segment wants an answer, or is a side's last word.
func asks(p *Passage) bool {
	return p.Kind == flows.KeepaliveProbe || p.Kind == flows.ZeroWindowProbe || p.Kind == flows.RST || p.Event.Run == nil && p.Event.Len > 0
}

// row is one passage as a row.
func (s *Subject) row(p *Passage, pos map[int]int) Row {
	r := Row{At: p.At, From: p.From, What: p.Kind, Fate: p.How, FateKnown: p.Known, Assumed: p.Assumed, Count: p.Count, Note: s.noteOf(p)}
	common := tcp.MinInstant
	for _, ref := range p.Refs {
		common = max(common, clockwork(s.Clocks).to(s.Base, ref.Vantage, ref.At))
		r.Cells = append(r.Cells, Cell{Pos: pos[ref.Vantage], Ref: ref, At: ref.At, Common: common})
	}
	if p.How == pairing.Lost {
		r.LostBetween = [2]int{pos[p.Between[0]], pos[p.Between[1]]}
	}
	if run := p.Event.Run; run != nil {
		r.Kind, r.Until, r.Interval = RowRun, p.Until, run.Period
		r.Cells[0].Last = refAt(s.Points, p.Refs[0].Vantage, run.UntilOrd, p.Kind, run.Until)
		if p.Kind == flows.KeepaliveProbe {
			r.Count = int(run.Count[p.From])
		}
		r.Fate, r.FateKnown = pairing.Unknowable, false
		if p.Known && p.How == pairing.Crossed {
			r.Fate, r.FateKnown = pairing.Crossed, true
		}
	}
	return r
}

func (s *Subject) noteOf(p *Passage) string {
	ev := p.Event
	switch {
	case p.Kind == flows.ICMPError:
		return fmt.Sprintf("ICMP %d/%d from %s", ev.Len>>8, ev.Len&0xff, ev.Source)
	case p.Kind == flows.RST && s.endingOf(p.From) == flows.EndGaveUp && s.lastRST(p):
		return "gave up"
	case p.Kind == flows.RST && s.endingOf(p.From) == flows.EndUserTimeout && s.lastRST(p):
		return "user timeout"
	case ev.Note&flows.NoteOutOfWindow != 0:
		return "not accepted"
	case (p.Kind == flows.SYN || p.Kind == flows.FIN) && ev.Note&flows.NoteRepeated != 0:
		return "again"
	case ev.Run != nil && p.Kind != flows.KeepaliveProbe:
		return fmt.Sprintf("%d + %d segments, %d + %d octets", ev.Run.Count[0], ev.Run.Count[1], ev.Run.Octets[0], ev.Run.Octets[1])
	case ev.Run != nil:
		return "answered"
	case p.Count > 1 && p.Row:
		return fmt.Sprintf("%d of them, the last shown", p.Count)
	case p.Count > 1:
		return fmt.Sprintf("%d of them, the first shown", p.Count)
	case ev.Flags.Has(tcp.ACK) && ev.Win == 0 && p.Kind != flows.RST && p.Kind != flows.ZeroWindowACK:
		return "window 0"
	case ev.Len > 0 && (p.Kind == flows.Data || p.Kind == flows.Retransmission):
		return fmt.Sprintf("%d octets", ev.Len)
	}
	return ""
}

// endingOf is how a side left, by the vantage point nearest to it.
func (s *Subject) endingOf(side uint8) flows.Ending {
	if side > flows.Server {
		return flows.EndUnknown
	}
	return s.nearest(side).Sides[side].Ending
}

func (s *Subject) lastRST(p *Passage) bool {
	for i := len(s.Passages) - 1; i >= 0; i-- {
		if q := &s.Passages[i]; q.Kind == flows.RST && q.From == p.From {
			return q == p
		}
	}
	return false
}

// inTrain reports whether passages before and i belong to series of unanswered
// probes, whose pauses are no silences of interest.
func inTrain(s *Subject, before, i int) bool {
	p, q := &s.Passages[i], &s.Passages[before]
	asking := func(x *Passage) bool {
		return x.Event.Run == nil && (x.Kind == flows.KeepaliveProbe && x.Event.AnsweredBy == 0 ||
			x.Kind == flows.Retransmission || x.Kind == flows.ZeroWindowProbe || x.Kind == flows.ZeroWindowACK)
	}
	return asking(q) && (asking(p) || p.Kind == flows.RST)
}

// trainLength returns how many passages from i on are unanswered probes with
// the same fate, the first of each side and the last of all being left out.
func (s *Subject) trainLength(i int) int {
	if !s.foldableProbe(i) {
		return 0
	}
	for side := uint8(0); side < 2; side++ {
		if s.Passages[i].From == side && !s.hasProbeBefore(i, side) {
			return 0
		}
	}
	n := 0
	for j := i; j < len(s.Passages) && s.foldableProbe(j) && s.hasProbeBefore(j, s.Passages[j].From); j++ {
		n++
	}
	return n
}

func (s *Subject) foldableProbe(i int) bool {
	p := &s.Passages[i]
	return p.Kind == flows.KeepaliveProbe && p.Event.Run == nil && p.Event.AnsweredBy == 0 && p.How != pairing.Crossed
}

// hasProbeBefore reports whether a side's probe with the same fate stands in
// the series before passage i.
func (s *Subject) hasProbeBefore(i int, side uint8) bool {
	for j := i - 1; j >= 0 && (s.foldableProbe(j) || s.Passages[j].Kind == flows.RST); j-- {
		if s.Passages[j].From == side && s.foldableProbe(j) && s.Passages[j].How == s.Passages[i].How {
			return true
		}
	}
	return false
}

// foldTrain makes one row of n probes, or one of each side's where the sides
// sent unequal numbers.
func (s *Subject) foldTrain(i, n int, pos map[int]int) []Row {
	var rows [2]Row
	for side := range rows {
		var last tcp.Instant
		for j := i - 1; j >= 0 && last == 0; j-- {
			if q := &s.Passages[j]; int(q.From) == side && q.Kind == flows.KeepaliveProbe {
				last = q.At
			}
		}
		r := &rows[side]
		for j := i; j < i+n; j++ {
			p := &s.Passages[j]
			if int(p.From) != side {
				continue
			}
			if r.Count == 0 {
				*r = s.row(p, pos)
				r.Kind, r.Note, r.Count = RowFolded, "", 0
			}
			if last != 0 {
				r.Interval.Add(p.At.Sub(last))
			}
			last = p.At
			r.Count++
			r.Until = p.At
			r.Cells[0].Last = p.First()
		}
	}
	client, server := rows[flows.Client], rows[flows.Server]
	switch {
	case client.Count == server.Count:
		both := client
		both.From = flows.Unclear
		both.Until = max(client.Until, server.Until)
		both.Interval.Min, both.Interval.Max = min(client.Interval.Min, server.Interval.Min), max(client.Interval.Max, server.Interval.Max)
		return []Row{both}
	case server.Count == 0:
		return []Row{client}
	case client.Count == 0:
		return []Row{server}
	}
	return []Row{client, server}
}

// shorten keeps a timeline within its bound: the beginning, the end, and the
// longest silences with their neighbours stay.
func shorten(rows []Row) []Row {
	if len(rows) <= timelineRows {
		return rows
	}
	keep := make([]bool, len(rows))
	left := timelineRows
	mark := func(i int) {
		if i >= 0 && i < len(rows) && !keep[i] && left > 0 {
			keep[i] = true
			left--
		}
	}
	for i := range 4 {
		mark(i)
	}
	for i := len(rows) - 24; i < len(rows); i++ {
		mark(i)
	}
	for left > 3 {
		best := -1
		for i := range rows {
			if rows[i].Kind == RowGap && !keep[i] && (best < 0 || rows[i].Idle > rows[best].Idle) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		mark(best - 1)
		mark(best)
		mark(best + 1)
	}
	var out []Row
	skipped := 0
	flush := func(next int) {
		if skipped > 0 {
			out = append(out, Row{Kind: RowCut, At: rows[next-1].At, From: flows.Unclear, Count: skipped})
			skipped = 0
		}
	}
	for i := range rows {
		if !keep[i] {
			skipped++
			continue
		}
		flush(i)
		out = append(out, rows[i])
	}
	flush(len(rows))
	return out
}
