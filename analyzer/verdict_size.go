package analyzer

import (
	"fmt"
	"slices"

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
			z.between = p.Between
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
