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

// smallestLarge is the payload from which a segment counts as large: below it
// every path carries it (RFC 791 and RFC 8200 ask for less than this and
// headers).
const smallestLarge = 1000

// sizes is what the payloads of one side tell of the way.
type sizes struct {
	lost      []pairing.Ref // large ones that never arrived
	first     int           // the first of them
	smallest  uint32        // of those
	tries     int
	largest   uint32 // payload that arrived
	mean      bool   // largest is no more than the mean of a run
	smallOnes []pairing.Ref
	answered  bool // one capture: the peer went on acknowledging the small ones
	proven    bool // two captures show that one of them was lost
	between   [2]int
}

// mtuBlackHole holds where large segments vanish and smaller ones of the same
// end pass meanwhile: packets of that size do not fit, and nobody says so.
func mtuBlackHole(s *Subject) Answer {
	for side := uint8(0); side < 2; side++ {
		z := s.sizes(side)
		if z.tries >= 3 && z.smallest <= z.largest {
			if p := s.passingSince(side, &z); p.tells(z.smallest) {
				return s.pathShrunk(side, &z, &p)
			}
		}
		if z.tries < 3 || z.smallest <= z.largest || len(z.smallOnes) == 0 && !z.answered {
			continue
		}
		p := &s.Passages[z.first]
		v := &Verdict{ID: MTUBlackHole, Confidence: Likely, At: p.At, FirstLost: p.First(), Between: [2]int{s.Base, s.Base},
			Summary: fmt.Sprintf("The %s's large segments vanish and its small ones pass: %d times %d octets or more never arrived, while %s did. Somewhere on the way packets of that size do not fit, and no ICMP tells the sender.",
				sideName(side), z.tries, z.smallest, z.passing()),
			Unknown: []string{"where the large ones are lost: ping with the don't-fragment bit and growing sizes, or lower the MSS"}}
		f := Finding{Rule: "large-ones-vanish", Says: fmt.Sprintf("%d segments of %d octets and more are never acknowledged, smaller ones are", z.tries, z.smallest),
			Suggests: "a path MTU below what the sender believes", Evidence: z.lost}
		if z.proven && (len(z.smallOnes) > 0 || z.answered) {
			v.Confidence, v.Between = Proven, s.alongPath(z.between)
			f.Says = fmt.Sprintf("%d segments of %d octets and more are lost on the way, smaller ones cross meanwhile", z.tries, z.smallest)
			f.Evidence = append(f.Evidence, z.smallOnes...)
		}
		return Answer{Verdict: v, Findings: []Finding{f}}
	}
	return Answer{}
}

// pathShrunk is the verdict on a path that takes smaller packets than before.
func (s *Subject) pathShrunk(side uint8, z *sizes, since *passing) Answer {
	p := &s.Passages[z.first]
	v := &Verdict{ID: MTUBlackHole, Confidence: Likely, At: p.At, FirstLost: p.First(), Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("From frame %s on the %s's large segments vanish and its small ones pass: %d times it sent %d octets or more that were never acknowledged. As large ones arrived before: the way takes smaller packets since then, as where a route changed or a tunnel came up, and no ICMP tells the sender.",
			frameWord(s, p.First()), sideName(side), z.tries, z.smallest),
		Unknown: []string{"where the large ones are lost: ping with the don't-fragment bit and growing sizes, or lower the MSS"}}
	f := Finding{Rule: "large-ones-vanish", Says: fmt.Sprintf("%d segments of %d octets and more are never acknowledged, smaller ones are answered meanwhile", z.tries, z.smallest),
		Suggests: "a path MTU below what the sender believes, and below what it was", Evidence: append(slices.Clone(z.lost), since.small...)}
	if since.lost >= 3 {
		v.Between = s.alongPath(z.between)
		f.Says = fmt.Sprintf("%d segments of %d octets and more are lost on the way, at most %d octets cross meanwhile", since.lost, z.smallest, since.largest)
	}
	switch {
	case since.lost >= 3 && since.late:
		v.Confidence = Proven
	case !since.late:
		v.Unknown = append(v.Unknown, "whether smaller ones still pass later: a burst of losses and then a cut path look almost the same")
	}
	return Answer{Verdict: v, Findings: []Finding{f}}
}

// passing is what passed of one side since a large segment of it vanished.
type passing struct {
	largest uint32 // payload that arrived
	small   []pairing.Ref
	lost    int  // large ones that two captures show to be lost
	asked   int  // how often the one that vanished first was sent
	late    bool // something smaller passed a second after that and later, when it was missing three times
	unsure  bool // a run may hide a large one
}

// tells reports whether large segments, of at least some octets, that passed before
// vanish from one moment on while smaller ones pass. That several are lost at once and
// the path is cut then looks almost the same: two captures have to show three of them
// lost, or one capture that what is repeated three times is still missing when something
// smaller is answered.
func (p *passing) tells(smallest uint32) bool {
	return !p.unsure && p.largest < smallest && len(p.small) > 0 && (p.lost >= 3 || p.late)
}

// took notes a segment that arrived; missing says whether the large one was for long.
func (p *passing) took(segment *Passage, missing bool) {
	p.largest, p.small, p.late = max(p.largest, segment.Event.Len), append(p.small, segment.First()), p.late || missing
}

// passingSince returns what passed of a side since the first large segment of it
// vanished.
func (s *Subject) passingSince(side uint8, z *sizes) (since passing) {
	first := &s.Passages[z.first]
	var last *Passage // what the side sent
	for i := z.first; i < len(s.Passages); i++ {
		p := &s.Passages[i]
		if p.Kind == flows.ICMPError || p.Kind == flows.RST || p.From > flows.Server {
			continue
		}
		arrived := p.Known && p.How == pairing.Crossed || s.cameFrom(p, side)
		missing := (since.lost >= 3 || since.asked >= 3 && !s.TwoSided()) && p.At.Sub(first.At) >= time.Second
		switch r := p.Event.Run; {
		case r != nil:
			since.unsure = since.unsure || (arrived || r.Count[1-side] > 0) && r.Octets[side] >= uint64(z.smallest)
			last = nil
		case p.From != side:
			if p.Kind == flows.DupACK && p.Event.Ack == first.Event.Seq && last != nil && !s.TwoSided() {
				since.took(last, missing) // what it sent last arrived, behind the hole
			}
		case p.Event.Len == 0:
		case arrived:
			since.took(p, missing)
		case p.Event.Len >= z.smallest:
			if p.Known && p.How == pairing.Lost && !p.Assumed {
				since.lost++
			}
			if p.Event.Seq == first.Event.Seq {
				since.asked++
			}
		}
		if p.From == side && p.Event.Len > 0 && p.Event.Run == nil {
			last = p
		}
	}
	return since
}

// passing says what arrived, in words.
func (z *sizes) passing() string {
	if z.mean {
		return "smaller ones"
	}
	return fmt.Sprintf("at most %d", z.largest)
}

// sizes sorts a side's payloads into those that arrived and those that did not.
func (s *Subject) sizes(side uint8) (z sizes) {
	z.first = -1
	var holes []tcp.Seq // of which the peer said that something beyond them arrived
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.Kind == flows.ICMPError || p.From > flows.Server:
		case p.Event.Run != nil && p.Kind != flows.KeepaliveProbe: // of a run only the mean is known
			r := p.Event.Run
			if r.Count[side] == 0 || r.Octets[side] == 0 {
				break
			}
			if mean := uint32(r.Octets[side] / uint64(r.Count[side])); mean > z.largest {
				z.largest, z.mean = mean, true
			}
			if z.first >= 0 && r.Count[1-side] > 0 {
				z.answered = true
				if len(p.Refs) > 1 {
					z.smallOnes = append(z.smallOnes, p.First())
				}
			}
		case p.From != side:
			z.answered = z.answered || z.first >= 0 && p.Kind == flows.DupACK
			if p.Event.Note&flows.NoteSACK != 0 {
				holes = append(holes, p.Event.Ack)
			}
		case p.Event.Len == 0:
		case p.Known && p.How == pairing.Lost && s.acknowledged(i): // sent again in smaller pieces, or only lost
		case p.Known && p.How == pairing.Lost, !(p.Known && p.How == pairing.Crossed) && !passed(s, i):
			if p.Event.Len < smallestLarge {
				continue // its turn has not come: what is missing before it holds it up
			}
			if z.first < 0 {
				z.first, z.smallest = i, p.Event.Len
			}
			z.smallest = min(z.smallest, p.Event.Len)
			z.tries++
			if p.Known && p.How == pairing.Lost && (z.between == [2]int{} || s.tellsBetter(p, z.between, side)) {
				z.between = p.Between
			}
			z.proven = z.proven || p.Known && p.How == pairing.Lost && !p.Assumed
			if len(z.lost) < 8 {
				z.lost = append(z.lost, p.First())
			}
		default:
			if p.Event.Len > z.largest {
				z.largest, z.mean = p.Event.Len, false
			}
			if z.first >= 0 && p.Known && p.How == pairing.Crossed {
				z.smallOnes = append(z.smallOnes, p.First())
			}
		}
	}
	if z.first >= 0 && slices.Contains(holes, s.Passages[z.first].Event.Seq) {
		z.answered = true
	}
	return z
}

// tooLarge is the reading of an end that asks in vain with large segments alone, where
// it is that.
func (s *Subject) tooLarge(t silentTail) []Hypothesis {
	first := s.Passages[t.asked[0]].Event
	for _, i := range t.asked {
		if p := &s.Passages[i]; p.Event.Run != nil || p.Event.Len < smallestLarge || p.Kind == flows.KeepaliveProbe {
			return nil
		}
	}
	h := Hypothesis{Verdict: MTUBlackHole, For: because(fmt.Sprintf("all that gets no answer has %d octets and more: nothing shows that smaller ones are lost", smallestLarge), s.questions(t)...), Next: nextCapture(t.side)}
	for i := range s.Passages {
		p := &s.Passages[i]
		switch {
		case p.From == t.side && i < t.asked[0] && p.Event.Run == nil && p.Event.Len >= first.Len && passed(s, i) && len(h.Against) == 0:
			h.Against = because("as large ones arrived before", p.First())
		case p.From == 1-t.side && p.Event.Note&flows.NoteSACK != 0 && p.Event.Ack == first.Seq:
			h.For = append(h.For, because("the peer says that what was sent behind it arrived", p.First())...)
		}
	}
	return []Hypothesis{h}
}

// holeStaysOpen holds where an end reports octets beyond a hole, and the capture goes on
// for longer than a repetition takes, without anything that fills it: what is repeated
// does not arrive, whatever else does.
func holeStaysOpen(s *Subject) Answer {
	for i := range s.Passages {
		p := &s.Passages[i]
		if p.Event.Note&flows.NoteSACK == 0 || p.From > flows.Server || s.Ends[1].Sub(p.At) < promptly {
			continue
		}
		sender, seen := 1-p.From, s.sightingAt(p.First().Vantage)
		if seen.Flow.Sides[sender].SndUna != p.Event.Ack || holesAt(seen.Flow.Missing, p.At, s.lastActivity()) || s.filled(p, seen) {
			continue
		}
		return s.openHole(i, sender)
	}
	return Answer{}
}

// filled reports whether the hole that an acknowledgment reports was filled after all:
// another capture holds what acknowledges more, or the missing octets come behind it,
// once, and their sender then rests for longer than it would if nothing said so.
func (s *Subject) filled(report *Passage, seen *pairing.Sighting) bool {
	hole, sender := report.Event.Ack, 1-report.From
	for k := range s.Seen {
		if una := s.Seen[k].Flow.Sides[sender].SndUna; s.Seen[k].Flow.Sides[sender].NxtKnown && una.After(hole) {
			return true
		}
	}
	n, last := 0, tcp.Instant(0)
	for i := range seen.Flow.Events {
		ev := &seen.Flow.Events[i]
		if ev.From == sender && ev.Ord > report.First().Ord && ev.Run == nil && ev.Kind != flows.ICMPError && ev.Len > 0 && !ev.Seq.After(hole) && ev.Seq.Add(int(ev.Len)).After(hole) {
			n, last = n+1, ev.At
		}
	}
	return n == 1 && s.recordedUntil(seen.Vantage).Sub(last) > max(promptly, 3*last.Sub(report.First().At))
}

// openHole is the verdict on a hole in what a side sent that the acknowledgment of
// passage i reports.
func (s *Subject) openHole(i int, sender uint8) Answer {
	hole, who := &s.Passages[i], sideName(sender)
	var before, since uint32                      // the largest payload that arrived
	largest, later := hole.First(), pairing.Ref{} // later: something that arrived when the hole was old
	for j := range s.Passages {
		p := &s.Passages[j]
		switch {
		case p.From != sender || p.Kind == flows.ICMPError:
		case p.Event.Run != nil && j < i:
			before = max(before, uint32(p.Event.Run.Octets[sender]/uint64(max(1, p.Event.Run.Count[sender]))))
		case p.At > hole.At && p.Event.Run == nil:
			since = max(since, p.Event.Len)
			if later.Frame == 0 && p.At.Sub(hole.At) > promptly {
				later = p.First()
			}
		case p.Event.Run == nil && p.Event.Len > before && p.At < hole.At.Add(-promptly):
			before, largest = p.Event.Len, p.First()
		}
	}
	lasts := facts.Compact(s.Ends[1].Sub(hole.At))
	v := &Verdict{ID: Undecided, Confidence: Possible, At: hole.At, Between: [2]int{s.Base, s.Base},
		Summary: fmt.Sprintf("The %s waits for octets of the %s: its acknowledgments report a hole, and nothing fills it in the %s until the capture ends. What is repeated does not arrive, or the %s repeats nothing.",
			sideName(1-sender), who, lasts, who),
		Unknown: []string{"whether the " + who + " repeats what is missing, and how large that is: needs a capture there over the same time"}}
	f := Finding{Rule: "hole-stays-open", Says: fmt.Sprintf("octets of the %s from SEQ %d on are missing, later ones arrived", who, hole.Event.Ack),
		Suggests: "what is missing is lost again and again, or is not repeated", Evidence: hole.Refs}
	next := nextCapture(1 - sender)
	mtu := Hypothesis{Verdict: MTUBlackHole, For: because(fmt.Sprintf("repetitions are large as a rule, and since then nothing of more than %d octets arrives", since), hole.First()), Next: next}
	if since >= smallestLarge {
		mtu.For, mtu.Against = nil, because(fmt.Sprintf("%d octets at a time arrive meanwhile", since), hole.First())
	} else if before >= smallestLarge {
		mtu.Against = because(fmt.Sprintf("up to %d octets arrived before", before), largest)
	}
	rest := []Hypothesis{
		{Verdict: OneWayDrop, For: because("all that the "+who+" sends may be lost since", hole.First()), Next: next},
		{Verdict: PeerGone, For: because("a host that went down repeats nothing", hole.First()), Next: next}}
	if later.Frame != 0 {
		rest = []Hypothesis{{Verdict: Healthy, For: because("the "+who+" and the way from it live: losses by chance, which a repetition repairs", later),
			Against: because(fmt.Sprintf("none came through in %s", lasts), hole.First()), Next: next}}
	}
	return Answer{Verdict: v, Findings: []Finding{f}, Hypotheses: append([]Hypothesis{mtu}, rest...)}
}
