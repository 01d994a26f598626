package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// How much of a report with many flows is shown without being asked.
const (
	inFull    = 3
	inALine   = 20
	topics    = 25 // width of the column of topics
	leastPage = 70 // below it a topic stands above its text
)

// Text writes the report for a terminal and a ticket: of each flow the verdict
// first, then why, then the timeline, then what to do and how to check it.
// Where there are many flows it counts them, shows the worst in full, some
// more in a line each, and says how to see the rest. It fails where o.Flow is
// no flow of the report, and where w does.
func Text(w io.Writer, r *analyzer.Report, o Options) error {
	p := newPage(w, o)
	shown, err := chosen(r, o)
	if err != nil {
		return err
	}
	if len(shown) == 0 {
		p.paragraph("no TCP connection to judge")
		p.blank()
	}
	if len(r.Flows) > inFull && o.Flow == 0 {
		for _, l := range wrap(p.clean(tally(r)), p.wide) {
			p.line(piece{p.fit(l, p.wide), strong})
		}
		p.blank()
	}
	for i := range shown {
		if i > 0 {
			p.rule()
			p.blank()
		}
		p.diagnosis(r, &shown[i])
	}
	if o.All && o.Flow == 0 && r.Rest != nil {
		for d := range r.Rest {
			if _, err := p.out.Write(nil); err != nil { // nobody reads the others
				return err
			}
			p.rule()
			p.blank()
			p.diagnosis(r, d)
		}
	}
	if o.Flow == 0 && !o.All {
		p.others(r, len(shown))
	}
	p.footer(r)
	return p.out.Flush()
}

// chosen returns the flows that are shown in full.
func chosen(r *analyzer.Report, o Options) ([]analyzer.Diagnosis, error) {
	switch {
	case o.Flow != 0:
		i := slices.IndexFunc(r.Flows, func(d analyzer.Diagnosis) bool { return d.ID == o.Flow })
		if i < 0 {
			return nil, fmt.Errorf("flow %d is not in the report, which lists %s", o.Flow, count(len(r.Flows), "flow"))
		}
		return r.Flows[i : i+1], nil
	case o.All:
		return r.Flows, nil
	}
	return r.Flows[:min(inFull, len(r.Flows))], nil
}

// verdictOrder lists verdicts in the order of the report's flows, then those
// that none of its listed flows has.
func verdictOrder(r *analyzer.Report, by map[string]int) []string {
	var order, rest []string
	for i := range r.Flows {
		if id := r.Flows[i].Verdict.ID; by[id] > 0 && !slices.Contains(order, id) {
			order = append(order, id)
		}
	}
	for id := range by {
		if by[id] > 0 && !slices.Contains(order, id) {
			rest = append(rest, id)
		}
	}
	slices.Sort(rest)
	return append(order, rest...)
}

// diagnosis writes all that is said of one flow.
func (p *page) diagnosis(r *analyzer.Report, d *analyzer.Diagnosis) {
	p.headline(r, d)
	p.ends(r, d)
	p.blank()
	if d.Verdict.Summary != "" {
		p.paragraph(d.Verdict.Summary)
		p.blank()
	}
	if pic := lay(r, d, p.Options); len(pic.rows) > 0 {
		p.draw(pic)
		p.blank()
	}
	p.why(r, d)
	p.doing(r, d)
	p.blank()
}

// headline is the verdict with its confidence at the right margin, or below it
// where there is no room.
func (p *page) headline(r *analyzer.Report, d *analyzer.Diagnosis) {
	v := &d.Verdict
	says := strings.ToUpper(spaced(v.ID))
	if a, b := v.Between[0], v.Between[1]; a != b {
		says += " between " + vantageName(r, a) + " and " + vantageName(r, b)
	}
	lines := wrap(p.clean(says), p.wide)
	sure := p.fit(p.clean(string(v.Confidence)), p.wide)
	last := lines[len(lines)-1]
	for _, l := range lines[:len(lines)-1] {
		p.line(piece{l, mood(v.ID)})
	}
	room := p.wide - width(last)
	if room < width(sure)+gutter {
		p.line(piece{last, mood(v.ID)})
		p.line(piece{padLeft(sure, p.wide), strong})
		return
	}
	p.line(piece{last, mood(v.ID)}, piece{padLeft(sure, room), strong})
}

// ends is the line of addresses, application and number, and what the two
// sides called themselves.
func (p *page) ends(r *analyzer.Report, d *analyzer.Diagnosis) {
	parts := []string{d.Client + " → " + d.Server}
	if d.Application != "" {
		app := Safe(tcp.Untrusted(d.Application))
		if d.AppHint {
			app += "? (by its port)"
		}
		parts = append(parts, app)
	}
	parts = append(parts, fmt.Sprintf("flow %d of %d", d.ID, flowTotal(r)))
	whole := p.clean(strings.Join(parts, "   "))
	if width(whole) <= p.wide {
		p.text(whole)
	} else {
		for _, part := range parts {
			p.paragraph(part)
		}
	}
	p.translations(r, d)
	if p.NoBanner {
		return
	}
	for end, says := range d.Banner {
		if says != "" {
			p.paragraph(endName(uint8(end)) + ` says "` + Safe(says) + `"`)
		}
	}
}

// translations says what the two ends are called at vantage points beyond a
// translation of addresses.
func (p *page) translations(r *analyzer.Report, d *analyzer.Diagnosis) {
	if d.Pair == nil {
		return
	}
	for i := 1; i < len(d.Pair.Seen); i++ {
		before, here := d.Pair.Seen[i-1].Flow, &d.Pair.Seen[i]
		for end := range here.Flow.Sides {
			if a, b := before.Sides[end].Addr, here.Flow.Sides[end].Addr; a != b {
				p.paragraph(a.String() + " is " + b.String() + " at " + vantageName(r, here.Vantage))
			}
		}
	}
}

// topic writes one entry of the block below the picture: its name, then its
// text, wrapped. Empty texts are left out.
func (p *page) topic(name string, texts ...string) {
	texts = slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s == "" })
	if len(texts) == 0 {
		return
	}
	if p.collect != nil {
		p.collect(name, texts)
		return
	}
	indent, room := topics, p.wide-topics
	if p.wide < leastPage {
		indent, room = gutter, p.wide-gutter
		p.line(piece{name, strong})
		name = ""
	}
	for _, t := range texts {
		for _, l := range p.item(t, room) {
			p.line(piece{pad(name, indent), strong}, piece{text: l})
			name = ""
		}
	}
}

// hanging marks a text of a topic that is to be pasted: it is indented, and
// goes on further in where it must be broken.
const hanging = "\t"

// item lays out one text of a topic.
func (p *page) item(s string, room int) []string {
	paste, isPaste := strings.CutPrefix(s, hanging)
	if !isPaste {
		return wrap(p.clean(s), room)
	}
	const in = 2
	whole := p.clean(paste)
	lines := []string{whole} // its own blanks may matter
	if width(whole) > room-in {
		whole = strings.Join(strings.Fields(whole), " ")
		first := wrap(whole, room-in)[0]
		lines = append([]string{first}, wrap(strings.TrimPrefix(whole, first), room-2*in)...)
	}
	for i := range lines {
		lines[i] = strings.Repeat(" ", in*min(i+1, 2)) + lines[i]
	}
	return lines
}

// why writes the evidence.
func (p *page) why(r *analyzer.Report, d *analyzer.Diagnosis) {
	p.topic("sure of", sureOf(&d.Verdict))
	p.topic("when", p.when(r, d)...)
	p.topic("how it ended", endingText(d.Endings))
	p.topic("alive until", p.aliveUntil(r, d))
	p.topic("seen", p.findings(r, d)...)
	p.topic("readings that remain", p.readings(r, d)...)
	p.topic("cannot be known", d.Verdict.Unknown...)
	p.topic("idle limit of the path", p.limit(r, d)...)
	p.policies(d)
	p.topic("see also", related(d)...)
}

// sureOf says how sure the verdict and its cause are.
func sureOf(v *analyzer.Verdict) string {
	var says []string
	if v.Cause == "" && mood(v.ID) != bad {
		return "" // the headline has said it
	}
	if v.Confidence != analyzer.None {
		says = append(says, happened(v.ID)+": "+string(v.Confidence))
	}
	if v.Cause != "" {
		cause := "its cause, " + spaced(v.Cause)
		if v.Cause == "unknown" {
			cause = "its cause: not known"
		} else if v.CauseConfidence != analyzer.None {
			cause += ": " + string(v.CauseConfidence)
		}
		if v.CauseWhy != "" {
			cause += " (" + v.CauseWhy + ")"
		}
		says = append(says, cause)
	}
	return strings.Join(says, "; ")
}

// when names the last frame that crossed and the first that was lost.
func (p *page) when(r *analyzer.Report, d *analyzer.Diagnosis) []string {
	v := &d.Verdict
	var says []string
	if v.LastCrossed.Frame != 0 {
		says = append(says, "last across: "+p.point(r, d, v.LastCrossed))
	}
	if v.FirstLost.Frame != 0 {
		lost, latest := onset(v.ID)+": "+p.point(r, d, v.FirstLost), ""
		if v.Row {
			lost, latest = onset(v.ID)+": about "+p.stamp(v.At), "; "+p.point(r, d, v.FirstLost)+", at the latest"
		}
		if v.Silence > 0 {
			lost += ", after " + clockwise(v.Silence) + " of silence"
		}
		says = append(says, lost+latest)
	}
	return says
}

// point names a frame: "#118 of client.pcap, ack, 16:31:07.212", the time
// being the one that the timeline shows.
func (p *page) point(r *analyzer.Report, d *analyzer.Diagnosis, ref pairing.Ref) string {
	text := frameName(r, ref) + " of " + vantageName(r, ref.Vantage)
	if ref.Kind != flows.Unknown {
		text += ", " + ref.Kind.String()
	}
	if at := commonMoment(d, ref); at != 0 {
		return text + ", " + p.stamp(at)
	}
	if ref.At == 0 {
		return text
	}
	text += ", " + p.stamp(ref.At)
	if ref.Vantage != 0 {
		text += " by its own clock"
	}
	return text
}

// commonMoment is when a frame of the timeline was recorded by the first
// vantage point's clock, 0 where the timeline does not hold it.
func commonMoment(d *analyzer.Diagnosis, ref pairing.Ref) tcp.Instant {
	for i := range d.Timeline {
		for _, c := range d.Timeline[i].Cells {
			if sameFrame(c.Ref, ref) {
				return c.Common
			}
		}
	}
	return 0
}

func sameFrame(a, b pairing.Ref) bool {
	return a.Vantage == b.Vantage && a.File == b.File && a.Frame == b.Frame
}

// aliveUntil names the last answered segment, unless "when" has done so.
func (p *page) aliveUntil(r *analyzer.Report, d *analyzer.Diagnosis) string {
	switch {
	case d.AliveUntil == 0 || d.AliveRef.Frame != 0 && sameFrame(d.AliveRef, d.Verdict.LastCrossed):
		return ""
	case d.AliveRef.Frame == 0:
		return p.stamp(d.AliveUntil)
	}
	return p.point(r, d, d.AliveRef)
}

// findings says what was seen and, apart from it, what that suggests.
func (p *page) findings(r *analyzer.Report, d *analyzer.Diagnosis) []string {
	var says []string
	for i := range d.Findings {
		f := &d.Findings[i]
		text := f.Says
		if at := evidence(r, f.Evidence); at != "" {
			text += " (" + at + ")"
		}
		if f.Suggests != "" {
			text += ": " + f.Suggests
		}
		says = append(says, text)
	}
	return says
}

// evidence lists frames by vantage point, the first few of each.
func evidence(r *analyzer.Report, refs []pairing.Ref) string {
	const few = 6
	var parts []string
	for v := range max(1, len(r.Vantages)) {
		var names []string
		more := 0
		for _, ref := range refs {
			switch {
			case ref.Vantage != v || ref.Frame == 0:
			case len(names) == few:
				more++
			default:
				names = append(names, frameName(r, ref))
			}
		}
		if len(names) == 0 {
			continue
		}
		text := strings.Join(names, ", ")
		if more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, vantageName(r, v)+" "+text)
	}
	return strings.Join(parts, "; ")
}

// limit says what silence the path allows, and which devices that fits.
func (p *page) limit(r *analyzer.Report, d *analyzer.Diagnosis) []string {
	path := analyzer.Path{Limit: d.Idle}
	if d.Path > 0 && d.Path <= len(r.Paths) {
		path = r.Paths[d.Path-1]
	}
	says := []string{limitText(path.Limit)}
	if fits := fitsText(path.Fits, p.All); fits != "" {
		says = append(says, "fits: "+fits)
	}
	return append(says, path.Note)
}

// policies writes how each end keeps the connection alive. That none was seen
// is said where a connection lived long enough to need one.
func (p *page) policies(d *analyzer.Diagnosis) {
	for _, end := range []uint8{flows.Client, flows.Server} {
		var says []string
		for i := range d.Policies {
			if d.Policies[i].End == end {
				says = append(says, policyText(&d.Policies[i]))
			}
		}
		if says == nil && needsKeepalive(d.Verdict.ID) {
			says = []string{"none seen"}
		}
		p.topic(endName(end)+" keepalive", says...)
	}
}

func needsKeepalive(id string) bool {
	switch id {
	case analyzer.ClosedNormally, analyzer.NotEstablished, analyzer.CaptureGap, analyzer.ReceiverStalled:
		return false
	}
	return true
}

// related names other flows that this one has to do with.
func related(d *analyzer.Diagnosis) []string {
	var says []string
	for _, rel := range d.Related {
		says = append(says, fmt.Sprintf("flow %d: %s", rel.Flow, rel.As))
	}
	return says
}

// doing writes what to change and how to check.
func (p *page) doing(r *analyzer.Report, d *analyzer.Diagnosis) {
	var change []string
	for i := range d.Remedies {
		m := &d.Remedies[i]
		change = append(change, remedyHead(m))
		for _, l := range m.Lines {
			change = append(change, hanging+l)
		}
	}
	if d.Advice != "" {
		change = append(change, "("+d.Advice+")")
	}
	p.topic("what to change", change...)
	p.topic("remember", p.caveats(d)...)
	p.topic("what if", wouldText(d.WhatIf))
	p.topic("ask the device's owner", p.owner(r, d)...)

	var check []string
	for _, f := range d.Filters {
		what := vantageName(r, f.Vantage) + ":"
		if f.What != "" {
			what = vantageName(r, f.Vantage) + ", " + f.What + ":"
		}
		if line := what + " " + f.Expr; width(p.clean(line)) <= p.wide-topics {
			check = append(check, line)
			continue
		}
		check = append(check, what, hanging+f.Expr)
	}
	p.topic("see it in Wireshark", check...)
}

// remedyHead says for which system a remedy is, where it goes and why.
func remedyHead(m *analyzer.Remedy) string {
	text := m.System
	if m.Where != "" {
		text += ", " + m.Where
	}
	if m.Why != "" {
		text += " (" + m.Why + ")"
	}
	if len(m.Lines) == 0 {
		return text
	}
	return text + ":"
}

// others writes the flows that were not shown in full.
func (p *page) others(r *analyzer.Report, shown int) {
	rest := r.Flows[shown:]
	if len(rest) > 0 {
		p.rule()
		p.blank()
		p.rows(rest[:min(inALine, len(rest))])
		p.blank()
	}
	if more := flowTotal(r) - shown - min(inALine, len(rest)); more > 0 {
		p.paragraph(fmt.Sprintf("%d more, not listed here.", more))
	}
	if flowTotal(r) > shown {
		p.paragraph("--flow N shows one flow in full, --all shows every one.")
		p.blank()
	}
}

// footer writes what the report stands on: the captures, their clocks, and
// what could not be done.
func (p *page) footer(r *analyzer.Report) {
	p.topic("captures", p.captures(r)...)
	var clocks []string
	for i := range r.Clocks {
		c := &r.Clocks[i]
		says := clockText(c, vantageName(r, c.From), vantageName(r, c.To))
		if c.Note != "" {
			says += "; " + c.Note
		}
		clocks = append(clocks, says)
	}
	p.topic("clocks", clocks...)
	var unasked []string
	for _, u := range r.Unasked {
		unasked = append(unasked, u.Rule+": "+u.Why)
	}
	p.topic("not asked", unasked...)
	p.topic("what if", whatIfTotal(r))
	p.topic("limits hit", r.Limits...)
	p.topic("note", r.Hints...)
	if r.Command != "" {
		p.topic("made with", r.Tool+": "+r.Command)
	}
}

// captures says of every vantage point what was read.
func (p *page) captures(r *analyzer.Report) []string {
	var says []string
	why := sharedWhy(r)
	for i := range r.Vantages {
		v := &r.Vantages[i]
		name := vantageName(r, i)
		if v.Role != "" {
			name += " (" + v.Role
			if v.RoleWhy != "" && v.RoleWhy != why {
				name += ": " + v.RoleWhy
			}
			name += ")"
		}
		if len(v.Files) == 1 {
			says = append(says, name+": "+fileText(&v.Files[0], p.Options))
		} else {
			says = append(says, name+": "+count(len(v.Files), "file"))
		}
		for j := range v.Files {
			f := &v.Files[j]
			if len(v.Files) > 1 {
				says = append(says, fmt.Sprintf("%s%d: %s: %s", hanging, j+1, Safe(f.Path), fileText(f, p.Options)))
			}
			for k := range f.Problems {
				says = append(says, hanging+problemText(&f.Problems[k]))
			}
		}
	}
	if why != "" {
		says = append(says, "sides: "+why)
	}
	return says
}

// sharedWhy is the reason for the roles of several vantage points where it is
// one for all, else "".
func sharedWhy(r *analyzer.Report) string {
	why, uses := "", 0
	for i := range r.Vantages {
		switch w := r.Vantages[i].RoleWhy; {
		case w == "":
		case uses == 0 || w == why:
			why = w
			uses++
		default:
			return ""
		}
	}
	if uses < 2 {
		return ""
	}
	return why
}
