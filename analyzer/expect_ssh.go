package analyzer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/tcp"
)

// Alive is what somebody says that ssh's own heartbeats are set to at one end:
// ServerAliveInterval and ServerAliveCountMax of the client, or
// ClientAliveInterval and ClientAliveCountMax of the server. A zero field is
// not asked about.
type Alive struct {
	Interval time.Duration
	Count    int
}

// aliveNames are the settings as ssh_config and sshd_config write them, by end.
var aliveNames = [2][2]string{
	{"ServerAliveInterval", "ServerAliveCountMax"},
	{"ClientAliveInterval", "ClientAliveCountMax"},
}

// secondsClock is how much later than due OpenSSH asks, since it counts in
// whole seconds.
const secondsClock = time.Second

// aliveSlack is how far an interval may be off what the setting allows.
const aliveSlack = 150 * time.Millisecond

// checkAlive compares an end's ssh heartbeats with what was asked.
func checkAlive(s *Subject, side uint8, want Alive) []CheckItem {
	var items []CheckItem
	if want.Interval > 0 {
		items = append(items, checkAliveInterval(s, side, want.Interval))
	}
	if want.Count > 0 {
		items = append(items, checkAliveCount(s, side, want.Count))
	}
	for i := range items {
		if !s.isSSH() {
			items[i].Result, items[i].Why = NotSeen, "this is no ssh connection, as far as its first octets and its port tell"
		}
	}
	return items
}

// isSSH reports whether a connection is one of ssh, by its first octets or else
// by its port.
func (s *Subject) isSSH() bool {
	word, _ := application(s)
	return word == "ssh" || word == "" && s.nearest(flows.Server).Sides[flows.Server].Addr.Port() == 22
}

// beatPaces returns the range of an end's heartbeat intervals in which nothing
// else was said, and how many there are.
func beatPaces(f *flows.Flow, side uint8) (r flows.Range, n int) {
	var last tcp.Instant
	for i := range f.Events {
		ev := &f.Events[i]
		switch {
		case ev.From > flows.Server || ev.Kind == flows.ICMPError:
		case ev.From == side && ev.Kind == flows.Heartbeat:
			if last != 0 {
				r.Add(ev.At.Sub(last))
				n++
			}
			last = ev.At
		case ev.Kind == flows.HeartbeatReply, ev.Kind == flows.KeepaliveProbe, ev.Kind == flows.Retransmission && ev.From == side:
		case ev.Len > 0, ev.Run != nil && ev.Run.Octets[0]+ev.Run.Octets[1] > 0:
			last = 0
		}
	}
	return r, n
}

// paceOf returns how often OpenSSH asks with an interval of v, as far as it can
// be seen: every v, late by up to a second; a server at every second interval
// too (measured with OpenSSH 9.2).
func paceOf(side uint8, v time.Duration) []time.Duration {
	if side == flows.Server {
		return []time.Duration{v, 2 * v}
	}
	return []time.Duration{v}
}

func checkAliveInterval(s *Subject, side uint8, want time.Duration) CheckItem {
	item := CheckItem{What: aliveNames[side][0], Want: want, Result: NotSeen,
		Why: "fewer than three heartbeats in a row were seen of this end: let the session fall silent while the capture runs"}
	f := s.nearest(side)
	seen, n := beatPaces(f, side)
	if n == 0 {
		s.noBeats(f, side, &item)
		return item
	}
	item.Seen = seen
	item.Result, item.Why = Fail, "seen every "+spread(seen)
	if paces := paceOf(side, want); atPaces(seen.Min, paces) && atPaces(seen.Max, paces) {
		item.Result = Pass
		if seen.Max > want+secondsClock+want/50+aliveSlack {
			item.Why += ": sshd asks at every second interval"
		}
	}
	return item
}

// atPaces reports whether an OpenSSH that keeps some of these paces may ask after d.
func atPaces(d time.Duration, paces []time.Duration) bool {
	return slices.ContainsFunc(paces, func(pace time.Duration) bool {
		return d >= pace-aliveSlack && d <= pace+secondsClock+pace/50+aliveSlack
	})
}

// noBeats looks for a silence in which an end should have asked and did not.
func (s *Subject) noBeats(f *flows.Flow, side uint8, item *CheckItem) {
	longest := time.Duration(0)
	for _, g := range f.Gaps {
		longest = max(longest, g.Duration())
	}
	if tail := s.Ends[1].Sub(s.lastActivity()); len(s.Seen) == 1 && !f.Sides[0].FIN && !f.Sides[1].FIN && !f.Sides[0].RST && !f.Sides[1].RST {
		longest = max(longest, tail)
	}
	paces := paceOf(side, item.Want)
	due := paces[len(paces)-1] + secondsClock + item.Want/50 + time.Second
	switch {
	case longest <= due:
	case holesAt(f.Missing, f.First, f.Last):
		item.Why = fmt.Sprintf("no heartbeat in a silence of %s, but the capture misses frames", facts.Compact(longest))
	default:
		item.Result = Fail
		item.Why = fmt.Sprintf("no heartbeat in a silence of %s: it is off for this session, or longer than that", facts.Compact(longest))
	}
}

// checkAliveCount compares the heartbeats that an end waited for in vain before
// it closed. More of them than wanted fail already.
func checkAliveCount(s *Subject, side uint8, want int) CheckItem {
	item := CheckItem{What: aliveNames[side][1], Count: want, Result: NotSeen,
		Why: "it shows only when the end gives up: stop the other end's process, or break the path, and wait"}
	f := s.nearest(side)
	b, ok := f.BeatEnd(side)
	pace, n := beatPaces(f, side)
	switch {
	case ok && b.Acked && n > 0:
		item.Counts = waitedFor(f, &b, pace)
		item.Result, item.Why = Pass, fmt.Sprintf("closed when %s had gone unanswered and the next was due", plural(item.Counts, "heartbeat"))
		if item.Counts != want {
			item.Result = Fail
		}
	case ok:
		item.Why = "it gave up, but its FIN waited behind what was never acknowledged: stop the other end's process instead of breaking the path"
	case len(b.Asked) > want+1:
		item.Result, item.Counts = Fail, len(b.Asked)
		item.Why = fmt.Sprintf("%d heartbeats in a row went unanswered and it had not given up", len(b.Asked))
	}
	return item
}

// waitedFor returns how many heartbeats an end waited for in vain before it left,
// those that the capture missed included.
func waitedFor(f *flows.Flow, b *flows.BeatEnd, pace flows.Range) int {
	waited := f.Events[b.End].At.Sub(f.Events[b.Asked[0]].At)
	return max(len(b.Asked), int((waited+pace.Max/2)/pace.Max))
}

// AliveSetting finds the setting of an ssh heartbeat by its name, in any case:
// the end that has it, and whether it is the count.
func AliveSetting(name string) (side uint8, count, ok bool) {
	for end, names := range aliveNames {
		for i, n := range names {
			if strings.EqualFold(n, name) {
				return uint8(end), i == 1, true
			}
		}
	}
	return 0, false, false
}
