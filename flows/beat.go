package flows

import (
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/tcp"
)

// A data segment on a quiet connection can be an application's own keepalive.
// Where its octets are in the clear they say so; an encrypted one (ssh, TLS) is
// told by its size and by coming at one pace, from the third beat on, or from
// the first where a first reading has learned it.

// Pace of an encrypted heartbeat: how far one interval may be off another.
const (
	beatSlack   = 0.05
	beatSlackAt = 100 * time.Millisecond
	beatsNeeded = 2 // equal intervals before the third beat is called one
	replyWithin = 10 * time.Second
)

// rhythm is what is known of one direction's encrypted heartbeats.
type rhythm struct {
	known beat // the last pace that was found; its len is 0 where there is none
	next  beat // what may be one
}

// beat follows segments of one size that each end a silence.
type beat struct {
	first tcp.Ordinal // where the rhythm began
	last  tcp.Ordinal
	at    tcp.Instant
	gap   time.Duration
	len   uint32
	count uint8 // equal intervals
}

// dataKind names a data segment at SND.NXT.
func (s *step) dataKind() Kind {
	switch {
	case s.c.flags&(coldBeat<<s.p) != 0 && s.quiet < replyWithin:
		s.c.flags &^= coldBeat << s.p
		if s.isReply() {
			s.countBeat()
			return HeartbeatReply
		}
	case s.quiet >= gapMin && s.isBeat():
		s.c.flags |= coldBeat << s.d
		s.countBeat()
		return Heartbeat
	default:
		s.c.flags &^= coldBeat << s.d
	}
	return Data
}

func (s *step) countBeat() { s.rare().beats++ }

// isBeat reports whether a segment after a silence is a heartbeat.
func (s *step) isBeat() bool {
	if _, ok := facts.HeartbeatIn(s.payload, int(s.seg.Len), s.ports()...); ok && len(s.payload) > 0 {
		return true
	}
	if !s.isSSHBeat() && !s.isSmallRecord() || !s.onBeat() {
		return false
	}
	s.conf = Inferred
	return true
}

// isSSHBeat reports whether a segment has the size of a heartbeat of SSH, and is of it.
func (s *step) isSSHBeat() bool {
	if !s.isSSH() {
		return false
	}
	request, _ := facts.EncryptedBeat(sshPort, int(s.seg.Len))
	return request
}

// smallRecord is the most that a record of TLS holds which is a heartbeat: a ping
// of HTTP/2 or WebSocket, a request of MQTT or of a broker, with what TLS adds.
const smallRecord = 96

// isSmallRecord reports whether a segment is one small record of TLS application
// data, as a heartbeat is.
func (s *step) isSmallRecord() bool {
	if !oneSmallRecord(s.payload, int(s.seg.Len)) {
		return false
	}
	for _, app := range s.c.app {
		if app != 0 && s.t.banners[app] == "tls" {
			return true
		}
	}
	return false
}

// isReply reports whether a segment right after the peer's heartbeat answers
// it.
func (s *step) isReply() bool {
	if _, ok := facts.HeartbeatAnswerIn(s.payload, int(s.seg.Len), s.ports()...); ok && len(s.payload) > 0 {
		return true
	}
	if _, answer := facts.EncryptedBeat(sshPort, int(s.seg.Len)); answer && s.isSSH() {
		s.conf = Inferred
		return true
	}
	if s.isSmallRecord() {
		s.conf = Inferred
		return true
	}
	return false
}

// recordHead is how long the head of a TLS record is.
const recordHead = 5

// oneSmallRecord reports whether a payload of length octets begins as one small
// record of TLS application data does, and ends with it.
func oneSmallRecord(b []byte, length int) bool {
	const applicationData = 23
	return length <= smallRecord && len(b) >= recordHead && b[0] == applicationData && b[1] == 3 && recordHead+(int(b[3])<<8|int(b[4])) == length
}

const sshPort = 22

func (s *step) ports() []uint16 {
	return []uint16{uint16(s.pkt.Key.Ports >> 16), uint16(s.pkt.Key.Ports)}
}

// isSSH reports whether an end has said so, or the port does.
func (s *step) isSSH() bool {
	for _, app := range s.c.app {
		if app != 0 {
			return strings.HasPrefix(string(s.t.banners[app]), "SSH-")
		}
	}
	return s.pkt.Key.Ports>>16 == 22 || s.pkt.Key.Ports&0xffff == 22
}

// onBeat follows the rhythm of segments of one size that each end a silence.
func (s *step) onBeat() bool {
	r := s.rare()
	if p := r.prior.Beat[s.d]; p.Len == s.seg.Len && s.pkt.Ord >= p.From && s.pkt.Ord <= p.Until {
		return true
	}
	if r.rhythms == nil {
		r.rhythms = new([2]rhythm)
	}
	known, b := &r.rhythms[s.d].known, &r.rhythms[s.d].next
	gap := s.at.Sub(b.at)
	switch {
	case known.len == s.seg.Len && s.goesOn(known):
		b = known
	case b.len != s.seg.Len:
		*b = beat{first: s.pkt.Ord, len: s.seg.Len}
	case b.count == 0 || !near(gap, b.gap, b.slack()):
		// The first interval, or another one: a rhythm may begin with the
		// segment before this.
		b.first, b.gap, b.count = b.last, gap, 1
	default:
		b.count++
	}
	b.at, b.last = s.at, s.pkt.Ord
	if b.count < beatsNeeded {
		return false
	}
	if b != known {
		*known, *b = *b, beat{}
	}
	if s.t.Options.Learn {
		p := s.learn()
		if p.Beat[s.d].Len != s.seg.Len {
			p.Beat[s.d] = Beat{Len: s.seg.Len, From: known.first}
		}
		p.Beat[s.d].Until = s.pkt.Ord
	}
	return true
}

// goesOn reports whether a known rhythm goes on with a segment, at its pace or
// off it. Other traffic puts the timer back: then the pace is kept behind that.
// ssh counts in whole seconds, and sshd asks at every interval or at every second
// one (measured with OpenSSH 9.2).
func (s *step) goesOn(b *beat) bool {
	slack := b.slack()
	switch {
	case near(s.at.Sub(b.at), b.gap, slack), near(s.quiet, b.gap, slack):
		return true
	case !s.isSSH():
		return false
	case near(s.quiet, b.gap, slack+time.Second):
		return true
	}
	toClient := s.c.flags&coldRoles == 0 || s.d != s.clientEnd()
	return toClient && (near(s.quiet, b.gap/2, slack) || near(s.quiet, 2*b.gap, slack))
}

// slack is how far an interval may be off that of the rhythm.
func (b *beat) slack() time.Duration {
	return max(time.Duration(beatSlack*float64(b.gap)), beatSlackAt)
}

func near(d, want, slack time.Duration) bool { return max(d-want, want-d) <= slack }
