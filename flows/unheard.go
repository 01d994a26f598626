package flows

import (
	"time"

	"kaflow/tcp"
)

// Unheard is a train of probes that a capture shows as answered and whose prober took
// none of the answers: they were lost behind the capture, or in the prober's own host.
type Unheard struct {
	First, Last int           // of Flow.Events: the probe, or the run of them, that begins it; the RST that ends it, else its last probe
	Reset       bool          // it ends with a RST
	Probes      int           // seen, those in runs counted
	Idle        time.Duration // before the first of them
	Interval    time.Duration // from each to the next, and to the RST
}

// Unheard reports whether a side hears none of the answers to its probes. A prober that
// hears one waits for its idle time again; one that hears none probes on at its
// interval, and resets the connection when as much time has passed once more. So three
// probes and more at an even pace, a silence of more than twice that before them, and a RST
// at the same pace behind them are those of a prober that heard nothing, and so are they
// without the RST where all of them echo one timestamp. It is not told where the prober kept
// that very pace when it heard answers, or where the silence is that of a few of its probes
// which the capture may miss. Where its segments carry timestamps, all must echo the same.
func (f *Flow) Unheard(side uint8) (u Unheard, ok bool) {
	end, ok := f.endOfTrain(side, &u)
	if !ok {
		return u, false
	}
	word := &f.Events[u.Last]
	said := word.TSEcr
	if word.Run != nil {
		said = word.Run.TSEcr
	}
	from := u.Last
	if u.Reset {
		from--
	}
	for i := from; i >= 0; i-- {
		ev := &f.Events[i]
		if ev.Kind == ICMPError || ev.From != side && (ev.Kind == KeepaliveACK || ev.Kind == KeepaliveProbe && ev.Run == nil) {
			continue
		}
		if ev.Kind != KeepaliveProbe || ev.From != side {
			u.Idle = end.Sub(ev.End())
			break
		}
		if u.Probes == 0 {
			u.Interval = end.Sub(ev.End())
		}
		echo := ev.TSEcr
		switch {
		case ev.Run != nil:
			echo = ev.Run.TSEcr
		case ev.AnsweredBy == 0:
			return u, false
		}
		if !u.even(end.Sub(ev.End())) || ev.HasTS && word.HasTS && echo != said {
			u.Idle = end.Sub(ev.End())
			break
		}
		u.Probes++
		if r := ev.Run; r != nil && r.Period.Known && (!u.even(r.Period.Min) || !u.even(r.Period.Max)) {
			u.Idle = r.Period.Min // its last one begins the train
			break
		}
		if echo != ev.TSEcr {
			return u, false // it heard answers at this very pace
		}
		u.First = i
		end = ev.At
		if ev.Run != nil {
			u.Probes += int(ev.Run.Count[side]) - 1
		}
	}
	return u, u.Probes >= 3 && u.Interval > 0 && u.Idle >= 2*u.Interval && !u.mayMiss() && !f.keptPace(side, &u)
}

// endOfTrain finds where a train of a side may end, and returns when the next thing
// behind its last probe came, or was due.
func (f *Flow) endOfTrain(side uint8, u *Unheard) (end tcp.Instant, ok bool) {
	for i := len(f.Events) - 1; i >= 0; i-- {
		if ev := &f.Events[i]; ev.Kind == RST && ev.From == side && ev.Flags.Has(tcp.ACK) {
			u.Last, u.Reset = i, true
			return ev.At, true
		}
	}
	for i := len(f.Events) - 1; i >= 0; i-- {
		ev := &f.Events[i]
		switch {
		case ev.From != side && (ev.Kind == KeepaliveACK || ev.Kind == KeepaliveProbe && ev.Run == nil):
		case ev.From != side || ev.Kind != KeepaliveProbe || !ev.HasTS:
			return 0, false
		case u.Last == 0:
			if u.Last = i; ev.Run != nil {
				return ev.Run.Until.Add(ev.Run.Period.Max), ev.Run.Period.Known
			}
		default:
			last := f.Events[u.Last].At
			return last.Add(last.Sub(ev.End())), true
		}
	}
	return 0, false
}

// mayMiss reports whether the silence before the train is that of a few probes, which the
// capture may not hold.
func (u *Unheard) mayMiss() bool {
	n := time.Duration((u.Idle + u.Interval/2) / u.Interval)
	return n <= 4 && max(u.Idle-n*u.Interval, n*u.Interval-u.Idle) <= n*u.slack()
}

// keptPace reports whether a side probed at the very pace of a train before, and heard
// answers.
func (f *Flow) keptPace(side uint8, u *Unheard) bool {
	var before *Event
	for i := range u.First {
		ev := &f.Events[i]
		if ev.Kind == ICMPError || ev.From != side && ev.Kind == KeepaliveACK {
			continue
		}
		if ev.From == side && ev.Kind == KeepaliveProbe {
			if r := ev.Run; r != nil && r.Period.Known && u.even(r.Period.Min) && u.even(r.Period.Max) {
				return true
			}
			open := before != nil && before.From == side && before.Kind == KeepaliveProbe && before.Run == nil && before.AnsweredBy == 0
			if before != nil && !open && u.even(ev.At.Sub(before.End())) {
				return true
			}
		}
		before = ev
	}
	return false
}

// even reports whether a pause is one of the train's.
func (u *Unheard) even(pause time.Duration) bool {
	return pause >= u.Interval-u.slack() && pause <= u.Interval+u.slack()
}

func (u *Unheard) slack() time.Duration { return u.Interval/20 + 50*time.Millisecond }
