package flows

import (
	"time"

	"kaflow/tcp"
)

// Unheard is a train of probes that a capture shows as answered and whose prober took
// none of the answers: they were lost behind the capture, or in the prober's own host.
type Unheard struct {
	First, Last int           // of Flow.Events: the probe, or the run of them, that begins it; the RST that ends it
	Probes      int           // seen, those in runs counted
	Idle        time.Duration // before the first of them
	Interval    time.Duration // from the last of them to the RST, as from each to the next
}

// Unheard reports whether a side gave up after probes that were answered here. A prober
// that hears an answer waits for its idle time again; one that hears none probes on at
// its interval and resets the connection when as much time has passed once more. So
// three probes and more at an even pace, a silence of twice that or longer before
// them, and a RST at the same pace behind them are those of a prober that heard
// nothing. Where its segments carry timestamps, all of them must echo the same one.
func (f *Flow) Unheard(side uint8) (u Unheard, ok bool) {
	rst := -1
	for i := range f.Events {
		if ev := &f.Events[i]; ev.Kind == RST && ev.From == side && ev.Flags.Has(tcp.ACK) {
			rst = i
		}
	}
	if rst < 0 {
		return u, false
	}
	u.Last = rst
	end := f.Events[rst].At // of the next pause back
	for i := rst - 1; i >= 0; i-- {
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
		if !u.even(end.Sub(ev.End())) || ev.HasTS && f.Events[rst].HasTS && echo != f.Events[rst].TSEcr {
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
	return u, u.Probes >= 3 && u.Interval > 0 && u.Idle >= 2*u.Interval
}

// even reports whether a pause is one of the train's.
func (u *Unheard) even(pause time.Duration) bool {
	slack := u.Interval/20 + 50*time.Millisecond
	return pause >= u.Interval-slack && pause <= u.Interval+slack
}
