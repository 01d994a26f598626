package analyzer

import (
	"fmt"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// What an application that used to answer must leave unanswered before that is told. One
// long query is no sign of anything, and is one segment, or several at one moment.
const (
	fewRequests  = 3           // segments, no fewer
	fewExchanges = 3           // by which it is known to answer
	requestsLast = time.Second // from the first of the segments to the last
	ownWord      = time.Second // of silence before the first: what comes sooner may be a reply
	longWait     = time.Minute // since the last of them,
	waitFactor   = 20          // and so many times the longest that it took before
)

// A wait is what a side's application asked and its peer's has not answered, though the
// peer's host acknowledged it.
type wait struct {
	side      uint8
	pending   int           // segments with data since the peer's last
	octets    uint64        // in them
	answered  uint64        // octets of the side that were answered before
	exchanges int           // what the side began and the peer answered
	longest   time.Duration // until an answer, of those
	own       bool          // the first of pending is no reply
	opened    bool          // the talk with which the connection opened is over
	first     tcp.Instant   // of pending
	last      tcp.Instant   // of pending
	spoke     tcp.Instant   // when either side last sent data
	refs      []pairing.Ref // of pending, the first
}

// unansweredRequests returns what waits for an answer of an application when the captures
// end, and for how long.
func (s *Subject) unansweredRequests() (w wait, silent time.Duration, ok bool) {
	for side := uint8(0); side < 2; side++ {
		seen := s.nearestSighting(side)
		w = s.waitOf(seen, side)
		silent = s.recordedUntil(seen.Vantage).Sub(w.last)
		if w.tells(silent) && s.nothingOwed() && s.waitOf(s.nearestSighting(other(side)), side).pending > 0 {
			return w, silent, true
		}
	}
	return wait{}, 0, false
}

// tells reports whether what was asked of itself, and no more of it than was answered
// before, waits for much longer than ever: uploads and streams that nobody answers do not.
func (w *wait) tells(silent time.Duration) bool {
	return w.pending >= fewRequests && w.last.Sub(w.first) >= requestsLast && w.own && w.octets <= w.answered &&
		w.exchanges >= fewExchanges && silent >= max(longWait, waitFactor*w.longest)
}

// nothingOwed reports whether each side has acknowledged all that the other sent, and
// neither has closed or misses frames.
func (s *Subject) nothingOwed() bool {
	for side := uint8(0); side < 2; side++ {
		f := s.nearest(side)
		own := &f.Sides[side]
		if own.FIN || own.RST || !own.NxtKnown || own.SndUna != own.SndNxt || len(f.Missing) > 0 {
			return false
		}
	}
	return true
}

// waitOf follows the data of both sides at a vantage point to what a side's last waits for.
func (s *Subject) waitOf(seen *pairing.Sighting, side uint8) wait {
	w := wait{side: side}
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		var asked, answered uint64
		switch {
		case ev.From > flows.Server:
		case ev.Run != nil && ev.Kind != flows.KeepaliveProbe:
			asked, answered = ev.Run.Octets[side], ev.Run.Octets[1-side]
		case ev.Run != nil || ev.Len == 0:
		case ev.Kind != flows.Data && ev.Kind != flows.Heartbeat && ev.Kind != flows.HeartbeatReply:
		case ev.From == side:
			asked = uint64(ev.Len)
		default:
			answered = uint64(ev.Len)
		}
		switch {
		case answered > 0:
			w.hear(ev, asked)
		case asked > 0:
			if w.ask(ev, asked); len(w.refs) < 8 {
				w.refs = append(w.refs, s.ref(seen, ev.Ord, ev.Kind, ev.At))
			}
		}
	}
	return w
}

// ask takes in what the side sends.
func (w *wait) ask(ev *flows.Event, octets uint64) {
	if w.pending == 0 {
		w.first, w.own = ev.At, w.paused(ev)
	}
	n := 1
	if ev.Run != nil {
		n = int(ev.Run.Count[w.side])
	}
	w.pending, w.octets, w.last = w.pending+n, w.octets+octets, ev.End()
	w.spoke = w.last
}

// hear takes in what the peer sends, or a run in which both did: how long that took is
// known to its length.
func (w *wait) hear(ev *flows.Event, asked uint64) {
	took := time.Duration(0)
	switch {
	case w.pending > 0:
		took = ev.End().Sub(w.first)
	case asked > 0:
		took = ev.End().Sub(ev.At)
		w.paused(ev)
	}
	switch {
	case !w.opened:
	case asked > 0 && ev.End().Sub(ev.At) >= requestsLast:
		w.exchanges += int(min(ev.Run.Count[0], ev.Run.Count[1]))
	case w.pending > 0 && w.own:
		w.exchanges++
	}
	w.longest = max(w.longest, took)
	w.answered += w.octets + asked
	w.pending, w.octets, w.own, w.refs, w.spoke = 0, 0, false, nil, ev.End()
}

// paused reports whether neither side had sent data for a while: what comes then is no
// reply, and no part of the talk with which a connection opens.
func (w *wait) paused(ev *flows.Event) bool {
	pause := w.spoke != 0 && ev.At.Sub(w.spoke) >= ownWord
	w.opened = w.opened || pause
	return pause
}

// tellWaiting adds to a verdict on an open connection what of it waits for an application.
func (s *Subject) tellWaiting(a Answer) Answer {
	w, silent, ok := s.unansweredRequests()
	if !ok || a.Verdict == nil {
		return a
	}
	v, who, peer := a.Verdict, sideName(w.side), sideName(other(w.side))
	v.Summary = strings.NewReplacer("Open and well", "Open", "what was sent last was answered", "what was sent last was acknowledged",
		"Nothing was asked, so", "Nothing was asked since, so").Replace(v.Summary)
	says := fmt.Sprintf("%s's last %s with data are acknowledged, and unanswered by the %s's application for %s", who, plural(w.pending, "segment"), peer, facts.Compact(silent))
	v.Summary += fmt.Sprintf(" The %s; it answered within %s before.", says, facts.Compact(w.longest))
	v.Unknown = append(v.Unknown, "whether the "+peer+"'s application hangs or has nothing to say: look at the process there")
	a.Hypotheses = append(a.Hypotheses, Hypothesis{Verdict: AppHung, For: because("the "+says, w.refs...),
		Against: because("nothing shows that an answer was due: a program that takes long, or shows no echo, looks the same")})
	return a
}
