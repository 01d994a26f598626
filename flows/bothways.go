package flows

import "kaflow/tcp"

// directions is what was found out about the directions that a capture holds.
type directions struct {
	both    bool
	oneOnly tcp.Instant // until when no two hosts were seen to exchange anything; 0 not looked for
}

// BothWays reports whether of any two hosts both directions were seen. A capture of
// which that is not so may have been taken of one direction only: what it lacks of the
// other shows nothing.
func (t *Table) BothWays() bool {
	if !t.directions.both && (t.directions.oneOnly == 0 || t.directions.oneOnly != t.now) {
		t.directions = directions{both: t.exchanged(), oneOnly: t.now}
	}
	return t.directions.both
}

func (t *Table) exchanged() bool {
	if t.ClosedCount() > 0 {
		return true
	}
	for _, row := range t.hosts.rows {
		if row.frames[0] > 0 && row.frames[1] > 0 {
			return true
		}
	}
	for _, p := range [...]*pool{&t.narrow, &t.wide} {
		for slot := range p.used {
			if r := p.record(slot); r.cold.flags&coldUsed != 0 && r.sent(0) > 0 && r.sent(1) > 0 {
				return true
			}
		}
	}
	return false
}
