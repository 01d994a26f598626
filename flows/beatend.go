package flows

import (
	"time"

	"kaflow/tcp"
)

// BeatEnd is how a side's application left when its own heartbeats went
// unanswered. Places are of Flow.Events; -1 where there is none.
type BeatEnd struct {
	Pace  time.Duration // from one of its heartbeats to the next
	Asked []int         // heartbeats that its peer's application did not answer in time
	End   int           // its FIN, or its RST; the RST may only answer Late
	Late  int           // what the peer's application sent when it was too late
	Acked bool          // the peer's host acknowledged the first of Asked before the end

	Repeated time.Duration // from the first of Asked to its last repetition before Late
	Answered bool          // Late acknowledges the first of Asked; else the peer lacks it

	// Overdue is how long its heartbeats had stayed away when the first of Asked
	// came, seen from beyond what held them up; 0 where they had not.
	Overdue time.Duration
}

// BeatEnd reports whether a side's application gave up on its own heartbeats:
// they had been answered, some were not any more, and it closed by its own FIN
// or RST where the next would have been due. Where nothing it sent was
// acknowledged its FIN waits behind the heartbeat and is not seen: then only
// the RST with which its host meets the late answer tells that it left. Seen
// from beyond what held them up, its heartbeats stay away for two paces and
// more before that.
func (f *Flow) BeatEnd(side uint8) (b BeatEnd, ok bool) {
	peer := 1 - side
	b = BeatEnd{End: -1, Late: -1}
	var last tcp.Instant // its last heartbeat
	var size uint32      // of its heartbeats
	var before *Event    // what it said last
	replied, certain := false, false
	for i := range f.Events {
		ev := &f.Events[i]
		switch {
		case ev.From > Server || ev.Kind == ICMPError || ev.Kind == Stale || ev.Kind == Duplicate:
		case b.End >= 0 && ev.From == peer && ev.Len > 0 && ev.Kind != Retransmission && ev.Kind != KeepaliveProbe:
			f.cameLate(&b, i)
			return b, true
		case b.End >= 0:
		case ev.From == side && (ev.Kind == Heartbeat || ev.Kind == Data && ev.Run == nil && size != 0 && ev.Len == size && ev.At.Sub(last) >= 2*b.Pace):
			size = ev.Len // one that comes late is off the pace by which others are known
			if last == 0 && before != nil && before.Len == ev.Len {
				last = before.At // the rhythm is known from the third on
			}
			gap := ev.At.Sub(last)
			if last != 0 && len(b.Asked) == 0 {
				b.Overdue = 0
				if b.Pace > 0 && gap >= 2*b.Pace {
					b.Overdue = gap
				}
			}
			if half := b.Pace - 2*gap; last != 0 && (b.Pace == 0 || gap < b.Pace && max(half, -half) > max(b.Pace/50, beatSlackAt)) {
				b.Pace = gap // one after half of it is sshd's (step.goesOn), and no other pace
			}
			last = ev.At
			certain = certain || ev.Conf == Certain
			b.Asked = append(b.Asked, i)
		case ev.From == side && (ev.Kind == FIN || ev.Kind == RST):
			if !replied || b.Pace == 0 || len(b.Asked) == 0 || !f.gaveUpOn(&b, ev.At, certain) {
				return BeatEnd{End: -1, Late: -1}, false
			}
			b.End, b.Acked = i, f.ackedBefore(b.Asked[0], i)
		case ev.From == side && ev.Kind == Data && ev.Run == nil:
			before = ev
		case ev.Run != nil && ev.Run.Octets[peer] > 0, ev.From == peer && ev.Len > 0 && ev.Kind != KeepaliveProbe:
			replied = replied || ev.Kind == HeartbeatReply
			if end := f.lateFor(&b, i, replied); end >= 0 {
				b.End, b.Acked = end, false
				f.cameLate(&b, i)
				return b, true
			}
			b.Asked, b.Overdue = nil, 0
		case ev.From == peer && (ev.Kind == FIN || ev.Kind == RST):
			return BeatEnd{End: -1, Late: -1}, false // the peer ended it
		}
	}
	return b, b.End >= 0
}

// gaveUpOn reports whether a moment lies where one of the next heartbeats
// would have been due. An application whose heartbeats are in the clear may
// have a patience of its own: two that it waited for in vain are enough.
func (f *Flow) gaveUpOn(b *BeatEnd, at tcp.Instant, certain bool) bool {
	wait := at.Sub(f.Events[b.Asked[0]].At)
	beats := (wait + b.Pace/2) / b.Pace
	off := wait - beats*b.Pace
	onBeat := beats >= 1 && max(off, -off) <= max(beats*b.Pace/50, beatSlackAt)
	return onBeat || certain && len(b.Asked) >= 2
}

// ackedBefore reports whether the peer acknowledged event i before event end.
func (f *Flow) ackedBefore(i, end int) bool {
	for j := i + 1; j < end; j++ {
		if f.acks(j, i) {
			return true
		}
	}
	return false
}

// acks reports whether event j acknowledges all of event i, of the other side.
func (f *Flow) acks(j, i int) bool {
	ev, sent := &f.Events[j], &f.Events[i]
	return ev.From == 1-sent.From && ev.Kind != RST && ev.Kind != ICMPError && ev.Flags.Has(tcp.ACK) && !ev.Ack.Before(sent.Seq.Add(int(sent.Len)))
}

// cameLate fills in event i, which came when it was too late, and what it is to the
// first heartbeat that was asked in vain.
func (f *Flow) cameLate(b *BeatEnd, i int) {
	b.Late = i
	asked := &f.Events[b.Asked[0]]
	b.Answered = f.acks(i, b.Asked[0])
	for j := b.Asked[0] + 1; j < i; j++ {
		if ev := &f.Events[j]; ev.From == asked.From && ev.Kind == Retransmission && ev.Seq == asked.Seq {
			b.Repeated = ev.At.Sub(asked.At)
		}
	}
}

// lateFor returns the RST with which the asker's host meets the peer's octets
// of event i, its heartbeats having waited in vain for longer than one pace:
// nobody waits for an answer any more. -1 where there is none.
func (f *Flow) lateFor(b *BeatEnd, i int, replied bool) int {
	ev := &f.Events[i]
	if !replied || b.Pace == 0 || len(b.Asked) == 0 || ev.Run != nil || f.ackedBefore(b.Asked[0], i) {
		return -1
	}
	if (b.Overdue == 0 || !f.acks(i, b.Asked[0])) && ev.At.Sub(f.Events[b.Asked[0]].At) < b.Pace {
		return -1
	}
	for j := i + 1; j < len(f.Events); j++ {
		rst := &f.Events[j]
		if rst.At.Sub(ev.At) > replyWithin {
			return -1
		}
		if rst.From != 1-ev.From {
			continue
		}
		if rst.Kind == RST && !rst.Flags.Has(tcp.ACK) && rst.Seq == ev.Ack {
			return j
		}
		if rst.Kind != Retransmission {
			return -1
		}
	}
	return -1
}
