package render

import (
	"fmt"
	"math"
	"time"

	"kaflow/analyzer"
)

// scale is the drawing of an idle limit: a logarithmic axis of silence with what
// was survived, what killed, and when each end's keepalive speaks.
type scale struct {
	W, H  int
	Bands []band
	Ticks []tick
	Marks []tick // keepalives
}

// band is a stretch of the axis.
type band struct {
	X, W        int
	TextX       int
	Anchor      string
	Class, Text string
}

// tick is a place on the axis.
type tick struct {
	X, Y   int
	Anchor string
	Text   string
}

// Measures of a scale.
const (
	scaleWide = 960
	scaleEdge = 30
)

// limitScale draws what is known of the limit; false where there is nothing to
// draw.
func limitScale(d *analyzer.Diagnosis) (s scale, ok bool) {
	b := &d.Idle
	if b.Survived == 0 && b.Killed == 0 {
		return s, false
	}
	most := max(b.Survived, b.Killed)
	for i := range d.Policies {
		most = max(most, d.Policies[i].ObservedIdle.Min)
	}
	axis := axis{least: time.Second, most: max(2*most, time.Minute)}
	s = scale{W: scaleWide, H: 116}
	end := scaleWide - scaleEdge
	from, to := axis.at(b.Survived), axis.at(b.Killed)
	if b.Survived > 0 {
		s.band(scaleEdge, from, "survived", "survived up to "+clockwise(b.Survived))
	} else {
		from = scaleEdge
	}
	if b.Killed > 0 {
		s.band(from, to, "between", "the limit lies here")
		s.band(to, end, "killed", "killed at "+clockwise(b.Killed))
	} else {
		s.band(from, end, "unknown", "not known")
	}
	last := -tickRoom
	for _, t := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 8 * time.Hour, 24 * time.Hour} {
		if x := axis.at(t); t <= axis.most && x-last >= tickRoom {
			s.Ticks = append(s.Ticks, tick{X: x, Y: 78, Anchor: "middle", Text: clockwise(t)})
			last = x
		}
	}
	for i := range d.Policies {
		if p := &d.Policies[i]; p.Idle > 0 {
			x := axis.at(p.ObservedIdle.Min)
			s.Marks = append(s.Marks, tick{X: x, Y: 96 + 14*(i%2), Anchor: anchorAt(x), Text: fmt.Sprintf("%s probes after %s", endName(p.End), clockwise(p.ObservedIdle.Min))})
		}
	}
	return s, true
}

// tickRoom is what a label of the axis takes.
const tickRoom = 80

// band adds a stretch from one place to another, its words within the drawing.
func (s *scale) band(from, to int, class, text string) {
	b := band{X: from, W: max(2, to-from), TextX: from, Anchor: "start", Class: class, Text: text}
	if anchorAt(from) == "end" {
		b.TextX, b.Anchor = scaleWide-scaleEdge, "end"
	}
	s.Bands = append(s.Bands, b)
}

// anchorAt keeps words at a place within the drawing.
func anchorAt(x int) string {
	switch {
	case x < scaleWide/5:
		return "start"
	case x > scaleWide*4/5:
		return "end"
	}
	return "middle"
}

// axis maps silences to places, a factor being a distance.
type axis struct{ least, most time.Duration }

func (a axis) at(t time.Duration) int {
	t = min(max(t, a.least), a.most)
	part := math.Log(float64(t)/float64(a.least)) / math.Log(float64(a.most)/float64(a.least))
	return scaleEdge + int(math.Round(part*(scaleWide-2*scaleEdge)))
}
