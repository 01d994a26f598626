package analyzer

import (
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// OwnerRequest is what to ask the owner of the device between two vantage
// points: what it did with which packets, and where to look.
type OwnerRequest struct {
	Names    []Names        // of the connection, at each vantage point
	Forgot   [2]tcp.Instant // in between the state went: after the last packet across, before the first lost; 0 unknown
	Expiry   bool           // Forgot holds if an idle timer did it
	Dropped  []Dropped
	Forged   *Forged // the RST that it sent in an end's name; nil none was seen
	Searches []Search
	Any      bool // no idle limit narrows the devices down: Searches are of all that are known
}

// Names are a connection's addresses as one vantage point sees them.
type Names struct {
	Vantage        int
	Client, Server string // addr:port
}

// Dropped counts packets of one direction that were lost between the vantage
// points.
type Dropped struct {
	From        uint8 // flows.Client or flows.Server
	Vantage     int   // that saw them, by whose own clock First and Last are
	Count       int
	Assumed     int // of them lost only if the other capture was still recording
	First, Last tcp.Instant
}

// Forged is a RST that the device sent in an end's name.
type Forged struct {
	As      uint8 // flows.Client or flows.Server
	Vantage int   // that saw it, by whose own clock At is
	At      tcp.Instant
}

// Search is what to look for in one kind of device's log.
type Search struct {
	Device  string
	For     []string // of the dropped packets
	Expiry  []string // of the moment at which the state went
	Enable  []string // needed for it to be logged at all
	Default string   // whether it is logged without anyone asking: "yes", "no" or "unknown"
	Shaky   bool
}

// askOwner gathers what the owner of the device between needs to know; nil
// where the verdict names no device between two captures.
func askOwner(s *Subject, d *Diagnosis) *OwnerRequest {
	v := &d.Verdict
	if !forgotten(v) || v.Between[0] == v.Between[1] || !s.TwoSided() {
		return nil
	}
	r := &OwnerRequest{Dropped: dropped(s, v), Forged: forgedBy(s, v), Expiry: v.Cause == "idle-expiry"}
	if len(r.Dropped) == 0 && r.Forged == nil {
		return nil
	}
	for i := range s.Seen {
		f := s.Seen[i].Flow
		r.Names = append(r.Names, Names{s.Seen[i].Vantage, f.Sides[flows.Client].Addr.String(), f.Sides[flows.Server].Addr.String()})
	}
	r.Forgot = forgot(s, d)
	port := int(s.flow.Sides[flows.Server].Addr.Port())
	logs := facts.Logs()
	if fit := facts.LogsOf(facts.TimeoutsBetween(d.Idle.Survived, d.Idle.Killed, port)); len(fit) > 0 {
		logs = fit
	} else {
		r.Any = true
	}
	for _, l := range logs {
		r.Searches = append(r.Searches, Search{l.Name, l.Search, l.Expiry, l.Enable, l.LoggedByDefault.String(), l.Shaky()})
	}
	return r
}

// dropped counts what was lost on the way from the first loss of the verdict
// on, by direction and by the vantage point that saw it.
func dropped(s *Subject, v *Verdict) []Dropped {
	var out []Dropped
	var onset tcp.Instant
	if v.ID == ForgedReset {
		onset = v.At.Add(-promptly) // what the RST answered was dropped before it
	}
	for i := range s.Passages {
		p := &s.Passages[i]
		if onset == 0 && p.First() == v.FirstLost {
			onset = p.At
		}
		if onset == 0 || p.At < onset || !p.Known || p.How != pairing.Lost || p.From > flows.Server {
			continue
		}
		ref := p.Refs[len(p.Refs)-1]
		at := -1
		for j := range out {
			if out[j].From == p.From && out[j].Vantage == ref.Vantage {
				at = j
			}
		}
		if at < 0 {
			out = append(out, Dropped{From: p.From, Vantage: ref.Vantage, First: ref.At})
			at = len(out) - 1
		}
		out[at].Count += max(1, p.Count)
		if p.Assumed {
			out[at].Assumed += max(1, p.Count)
		}
		first := ref.At
		if p.Row {
			first = ref.At.Add(p.At.Sub(p.Until))
		}
		out[at].First, out[at].Last = min(out[at].First, first), max(out[at].Last, first.Add(p.Until.Sub(p.At)))
	}
	return out
}

// forgedBy is the RST of a verdict that says that a device sent one.
func forgedBy(s *Subject, v *Verdict) *Forged {
	if v.ID != ForgedReset {
		return nil
	}
	for i := range s.Passages {
		if p := &s.Passages[i]; p.Kind == flows.RST && p.First() == v.FirstLost && p.From <= flows.Server {
			return &Forged{As: p.From, Vantage: v.FirstLost.Vantage, At: v.FirstLost.At}
		}
	}
	return nil
}

// forgot bounds the moment at which the state went: not before the silence had
// lasted longer than one that was survived, and before the first lost packet.
func forgot(s *Subject, d *Diagnosis) [2]tcp.Instant {
	v := &d.Verdict
	if v.Silence <= 0 || v.At == 0 {
		return [2]tcp.Instant{}
	}
	from := v.At.Add(-v.Silence)
	if v.Cause == "idle-expiry" && d.Idle.Survived > 0 && d.Idle.Survived < v.Silence {
		from = from.Add(d.Idle.Survived.Round(time.Millisecond))
	}
	return [2]tcp.Instant{from, v.At}
}
