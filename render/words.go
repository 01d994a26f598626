package render

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
)

// happened names what a verdict says happened, where "sure of" speaks of it.
func happened(id string) string {
	switch id {
	case analyzer.SilentDrop:
		return "the drop"
	case analyzer.OneWayDrop:
		return "the one-way drop"
	case analyzer.PathCut:
		return "the cut"
	case analyzer.PeerLostState:
		return "the loss of the peer's state"
	case analyzer.ReceiverStalled:
		return "the stall"
	}
	return spaced(id)
}

// onset says what the first frame of a failure is to a verdict.
func onset(id string) string {
	switch id {
	case analyzer.SilentDrop, analyzer.OneWayDrop, analyzer.PathCut:
		return "first lost"
	case analyzer.Undecided:
		return "first unanswered"
	}
	return "it began with"
}

// spaced is an id in plain words.
func spaced(id string) string { return strings.ReplaceAll(id, "-", " ") }

// mood is the colour of a verdict.
func mood(id string) style {
	switch id {
	case analyzer.Healthy, analyzer.ClosedNormally:
		return good
	case analyzer.Idle, analyzer.Undecided, analyzer.CaptureGap:
		return warn
	}
	return bad
}

// endName names an end of a flow.
func endName(end uint8) string {
	switch end {
	case flows.Client:
		return "client"
	case flows.Server:
		return "server"
	}
	return "one end"
}

// limitText says what is known of an idle limit, "" where nothing is.
func limitText(b analyzer.IdleBracket) string {
	var says []string
	if b.Survived > 0 {
		says = append(says, "survived "+seconds(b.Survived))
	}
	if b.SurvivedRelearned > 0 {
		says = append(says, "survived "+seconds(b.SurvivedRelearned)+" where the other end spoke first")
	}
	if b.Killed > 0 {
		says = append(says, "killed at "+seconds(b.Killed))
	}
	if len(says) == 0 {
		return ""
	}
	text := strings.Join(says, ", ")
	var holds []string
	if b.Direction == "client" || b.Direction == "server" {
		holds = append(holds, "for packets of the "+b.Direction)
	}
	if b.RefreshedBy == "payload" {
		holds = append(holds, "only payload refreshes it")
	}
	if b.RefreshedBy == "any" {
		holds = append(holds, "any packet refreshes it")
	}
	if len(holds) > 0 {
		text += " (" + strings.Join(holds, "; ") + ")"
	}
	return text
}

// fitsText lists known devices whose default lies in a bracket: those that
// stand for all, unless all are wanted.
func fitsText(fits []analyzer.Fit, all bool) string {
	const few = 6
	shown := fits
	if !all && len(fits) > few {
		shown = slices.DeleteFunc(slices.Clone(fits), func(f analyzer.Fit) bool { return !f.Stands })
		if len(shown) == 0 {
			shown = fits[:few]
		}
	}
	names := make([]string, len(shown))
	for i, f := range shown {
		names[i] = fmt.Sprintf("%s %d s", f.Device, f.Seconds)
	}
	text := strings.Join(names, ", ")
	if more := len(fits) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// policyText says how one end keeps its connections alive.
func policyText(p *analyzer.Policy) string {
	text := pace(p)
	if p.Mechanism != "" && p.Mechanism != analyzer.TCPKeepalive {
		text = p.Mechanism + ": " + text
	}
	if p.Backoff {
		text += ", each interval longer than the one before"
	}
	if p.UserTimeout > 0 {
		text += ", user timeout " + seconds(p.UserTimeout)
	}
	if p.Confidence != analyzer.Proven && p.Confidence != analyzer.None {
		text += ", " + string(p.Confidence)
	}
	if len(p.Resembles) > 0 {
		text += "; like " + strings.Join(p.Resembles, ", ")
	}
	if p.Detection > 0 {
		text += "; notices a death after " + seconds(p.Detection)
		if p.Detection >= time.Minute {
			text += " (" + clockwise(p.Detection) + ")"
		}
	}
	if p.Outage[1] > 0 {
		text += fmt.Sprintf("; sits out an outage shorter than %s always, longer than %s never", clockwise(p.Outage[0]), clockwise(p.Outage[1]))
	}
	if p.Remark != "" {
		text += ": " + p.Remark
	}
	return text
}

// pace is idle time, interval and count, saying which of them was not seen.
func pace(p *analyzer.Policy) string {
	if p.Mechanism != "" && p.Mechanism != analyzer.TCPKeepalive && p.Idle == 0 && !p.ObservedIdle.Known { // a heartbeat has no idle time
		text := "every " + timer(p.Interval, p.IntervalCandidates, p.ObservedInterval)
		if p.Count > 0 {
			text += fmt.Sprintf(", gave up after %d without an answer", p.Count)
		}
		return text
	}
	idle := timer(p.Idle, p.IdleCandidates, p.ObservedIdle)
	interval := timer(p.Interval, p.IntervalCandidates, p.ObservedInterval)
	if n := max(p.Count, p.GaveUpAfter); idle != "" && interval != "" && n > 0 {
		text := fmt.Sprintf("%s + %d × %s", idle, n, interval)
		if p.Count == 0 && p.UserTimeoutIn.Known {
			text += fmt.Sprintf(" (a count of %d, or in its place a user timeout of %s to %s)", n, seconds(p.UserTimeoutIn.Min), seconds(p.UserTimeoutIn.Max))
		}
		return text
	}
	var says, unseen []string
	if idle == "" && p.ObservedPace.Known {
		says = append(says, "every "+spread(p.ObservedPace)+" while answered: the larger of idle time and interval")
	}
	if idle != "" {
		says = append(says, "after "+idle+" idle")
	} else {
		unseen = append(unseen, "idle time")
	}
	if interval != "" {
		says = append(says, "every "+interval)
	} else {
		unseen = append(unseen, "interval")
	}
	switch {
	case p.Count > 0:
		says = append(says, count(p.Count, "probe"))
	case p.GaveUpAfter > 0 && p.UserTimeoutIn.Known:
		says = append(says, fmt.Sprintf("gave up after %s (a count of %d, or a user timeout of up to %s)", count(p.GaveUpAfter, "probe"), p.GaveUpAfter, seconds(p.UserTimeoutIn.Max)))
	case p.GaveUpAfter > 0:
		says = append(says, fmt.Sprintf("gave up after %s (a count of %d, or a user timeout)", count(p.GaveUpAfter, "probe"), p.GaveUpAfter))
	case p.GaveUpAtLeast > 0:
		says = append(says, fmt.Sprintf("gave up after %s at least, of which the capture may lack the first", count(p.GaveUpAtLeast, "probe")))
	default:
		unseen = append(unseen, "count")
	}
	text := strings.Join(says, ", ")
	if len(unseen) > 0 {
		if text != "" {
			text += "; "
		}
		text += strings.Join(unseen, ", ") + " not seen"
	}
	return text
}

// timer is a setting: its value, else the round values that fit, else what was
// measured, else "".
func timer(known time.Duration, candidates []time.Duration, seen flows.Range) string {
	switch {
	case known > 0:
		return seconds(known)
	case len(candidates) > 0:
		const few = 3
		var names []string
		for _, c := range candidates[:min(few, len(candidates))] {
			names = append(names, seconds(c))
		}
		return strings.Join(names, " or ") + "?"
	case seen.Known:
		return "about " + spread(seen)
	}
	return ""
}

// endingText says how both ends left the flow, "" where there is nothing to
// say of them.
func endingText(e [2]flows.Ending) string {
	if e[0] == flows.EndUnknown && e[1] == flows.EndUnknown {
		return ""
	}
	return fmt.Sprintf("client %s, server %s", ending(e[0]), ending(e[1]))
}

func ending(e flows.Ending) string {
	switch e {
	case flows.EndUnknown:
		return "not seen to end"
	case flows.EndOpen:
		return "still open"
	case flows.EndFIN:
		return "closed with FIN"
	case flows.EndRST:
		return "sent a RST"
	case flows.EndReset:
		return "was reset"
	case flows.EndGaveUp:
		return "gave up after its probes, with a RST"
	case flows.EndTimedOut:
		return "timed out, its retransmissions unanswered"
	case flows.EndUserTimeout:
		return "gave up on its user timeout"
	case flows.EndHeartbeat:
		return "closed when its heartbeats went unanswered"
	}
	return e.String()
}

// clockText says how the second clock compares with the first.
func clockText(c *pairing.Clock, from, to string) string {
	if c.Contradiction {
		return fmt.Sprintf("no clock fits all packets of %s and %s", from, to)
	}
	text := fmt.Sprintf("the clock of %s is %s that of %s", to, ahead(c.Offset), from)
	switch {
	case c.Given:
		return text + ", as given"
	case c.NoMin && c.NoMax:
	case c.NoMin:
		text += fmt.Sprintf(" (at most %s; packets crossed in one direction only)", signed(c.Max))
	case c.NoMax:
		text += fmt.Sprintf(" (at least %s; packets crossed in one direction only)", signed(c.Min))
	default:
		text += fmt.Sprintf(" (between %s and %s)", signed(c.Min), signed(c.Max))
	}
	if c.PPMMin > 0 || c.PPMMax < 0 {
		text += fmt.Sprintf(", drifting by %.1f ppm", c.PPM)
	} else if c.RateByStamps() && math.Abs(c.Stamps.PPM) > c.Stamps.Err {
		text += fmt.Sprintf(", drifting by about %.0f ppm by the hosts' own timestamps", c.PPM)
	}
	return text
}

func ahead(d time.Duration) string {
	switch {
	case d > 0:
		return offset(d) + " ahead of"
	case d < 0:
		return offset(-d) + " behind"
	}
	return "equal to"
}

func signed(d time.Duration) string {
	if d > 0 {
		return "+" + offset(d)
	}
	return offset(d)
}

// offset is a difference between clocks, to a tenth of a millisecond where it
// is small enough for that to matter.
func offset(d time.Duration) string {
	if size := max(d, -d); size >= time.Millisecond && size < 10*time.Second {
		return short(d, time.Millisecond, 1) + " ms"
	}
	return seconds(d)
}

// fileText says what is to be known of one file.
func fileText(f *capture.File, o Options) string {
	text := count(f.Frames, "frame")
	if f.First != 0 && f.Last != 0 {
		text += ", " + o.moment(f.First) + " to " + o.until(f) + " " + zone(f.Last.Time().In(o.location()))
	}
	switch {
	case f.StillGrowing:
		text += ", ends inside a record, as a file that is being written does"
	case f.Complete:
		text += ", complete"
	default:
		text += ", not complete"
	}
	switch {
	case f.DropsKnown && f.Drops > 0:
		text += ", " + count(f.Drops, "packet") + " dropped while capturing"
	case f.DropsKnown:
		text += ", no drops"
	}
	if f.SHA256 != "" {
		text += ", SHA-256 " + f.SHA256
	}
	return text
}

// until is a file's last moment, without the date where it is the first's.
func (o Options) until(f *capture.File) string {
	if o.day(f.First) == o.day(f.Last) {
		return o.stamp(f.Last)
	}
	return o.moment(f.Last)
}

// problemText is damage in numbers that a user can look up.
func problemText(p *capture.Problem) string {
	where := fmt.Sprintf("offset 0x%x: ", p.Offset)
	if p.Frame > 0 {
		where = fmt.Sprintf("frame %d, ", p.Frame) + where
	}
	return where + p.What
}

// tally counts flows by verdict, the gravest first, as far as the order of the
// report tells.
func tally(r *analyzer.Report) string {
	by := r.Totals.ByVerdict
	if by == nil {
		by = map[string]int{}
		for i := range r.Flows {
			by[r.Flows[i].Verdict.ID]++
		}
	}
	var says []string
	for _, id := range verdictOrder(r, by) {
		says = append(says, fmt.Sprintf("%d %s", by[id], spaced(id)))
	}
	return count(flowTotal(r), "flow") + ": " + strings.Join(says, ", ")
}

// flowTotal is how many flows the report speaks of.
func flowTotal(r *analyzer.Report) int { return max(r.Totals.Flows, len(r.Flows)) }
