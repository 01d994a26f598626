package flows

import "kaflow/tcp"

// Pings are the echoes of two hosts at one vantage point. A ping is known by the ID
// that its request and its answer share.
type Pings struct {
	Asked    []Control       // requests, each once, in time order
	Answered map[uint32]bool // of which an answer is there
	Held     map[uint32]bool // of which anything is there, of any time
}

// Pings sorts the echoes among the controls, from an instant on.
func (h *HostPair) Pings(since tcp.Instant) Pings {
	p := Pings{Answered: map[uint32]bool{}, Held: map[uint32]bool{}}
	asked := map[uint32]bool{}
	for _, c := range h.Controls {
		if !c.Echo() {
			continue
		}
		p.Held[c.ID] = true
		switch {
		case c.At < since:
		case c.What == ControlEchoReply:
			p.Answered[c.ID] = true
		case !asked[c.ID]:
			asked[c.ID] = true
			p.Asked = append(p.Asked, c)
		}
	}
	return p
}
