// Package traffic writes large captures whose content is known: keepalive
// pairs, bulk transfer or short connections, on any number of flows, in pcap or
// pcapng, as seen at one end of the path or at the other. The same Config gives
// the same octets every time, and Truth says what is in them.
//
// Nothing is kept per flow: every segment follows from its number alone, so a
// capture of any size costs the same memory, and two vantage points of the same
// traffic need no common state.
package traffic

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Shape is what the flows of a capture do.
type Shape uint8

// The shapes.
const (
	Keepalive Shape = iota // idle flows, each probed by its client once per Interval and answered
	Bulk                   // servers send segments of 1448 octets; clients acknowledge every second one
	Churn                  // connections of 10 segments, from SYN to the last ACK; Flows of them open at once
)

// String returns the word that ParseShape takes.
func (s Shape) String() string { return word(shapeWords[:], int(s)) }

var shapeWords = [...]string{"keepalive", "bulk", "churn"}

// Begin is how the flows of Keepalive and Bulk start. Churn always shows whole
// connections.
type Begin uint8

// The beginnings.
const (
	MidStream     Begin = iota // the capture starts in the middle
	Handshake                  // SYN, SYN-ACK, ACK
	HandshakeData              // and an SSH banner each way, acknowledged
)

// String returns the word that ParseBegin takes.
func (b Begin) String() string { return word(beginWords[:], int(b)) }

var beginWords = [...]string{"midstream", "handshake", "handshake-data"}

// Format is the container of a capture.
type Format uint8

// The containers.
const (
	PCAP     Format = iota // microseconds, little endian
	PCAPNano               // nanoseconds, little endian
	PCAPNG                 // one section, one interface, if_tsresol 9, little endian
)

// String returns the word that ParseFormat takes.
func (f Format) String() string { return word(formatWords[:], int(f)) }

var formatWords = [...]string{"pcap", "pcap-ns", "pcapng"}

// ParseShape returns the shape that a word names.
func ParseShape(s string) (Shape, error) {
	i, err := parse("shape", shapeWords[:], s)
	return Shape(i), err
}

// ParseBegin returns the beginning that a word names.
func ParseBegin(s string) (Begin, error) {
	i, err := parse("beginning", beginWords[:], s)
	return Begin(i), err
}

// ParseFormat returns the container that a word names.
func ParseFormat(s string) (Format, error) {
	i, err := parse("format", formatWords[:], s)
	return Format(i), err
}

func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("%d", i)
}

func parse(what string, words []string, s string) (int, error) {
	for i, w := range words {
		if w == s {
			return i, nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q, want one of %v", what, s, words)
}

// Config says which traffic to write. A zero field means the default its
// comment names.
type Config struct {
	Shape   Shape
	Flows   int // 1,000; of Churn: open at once, rounded up to a multiple of 10
	Packets int // frames in the capture; 1,000,000
	Seed    uint64
	Begin   Begin // of Keepalive: the first probe comes one to two Intervals later
	IPv6    bool
	VLAN    uint16 // 802.1Q tag on every frame; 0 is none
	Format  Format

	Interval time.Duration // of Keepalive, from probe to probe of one flow; 60 s
	RTT      time.Duration // as the client sees it; 200 µs
	Gap      time.Duration // of Bulk and Churn, from frame to frame at the client; 10 µs, more where the RTT asks for it
	Pair     bool          // all flows are of one client and one server, which use a port again after 60,000 others
	Scatter  bool          // of Keepalive: later rounds visit the flows in another order than the first, so that neighbours in memory are none in time

	ServerSide bool          // the capture taken at the server instead of at the client
	OneWay     time.Duration // delay between the two, each way; RTT/2 − 10 µs, at least 1 ns
	Clock      time.Duration // added to every timestamp: this vantage point's clock error
	NAT        bool          // as seen beyond a source NAT: Public tells what it makes of a flow; IPv4 alone
	Shift      bool          // as seen beyond a firewall that makes sequence numbers random
}

// Public returns the address and port that the source NAT gives a flow. They do
// not follow the order of the flows.
func Public(flow uint64) netip.AddrPort {
	addr, port := public(flow)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, addr))), port)
}

// Private returns the flow's client as it is before the source NAT.
func Private(flow uint64) netip.AddrPort {
	client, _, port := ends(flow)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, netClient+client))), port)
}

// Truth is what a capture holds.
type Truth struct {
	Packets  uint64 // frames
	Flows    uint64 // that show at least one segment
	Closed   uint64 // whose last ACK is in the capture
	SYNs     uint64
	Probes   uint64 // keepalive probes
	Answers  uint64 // to keepalive probes
	Segments uint64 // that carry payload
	Octets   uint64 // of payload
	Size     uint64 // of the file, in octets
	First    time.Time
	Last     time.Time
}

// maxFlows keeps addresses and ports of different flows apart.
const maxFlows = 1 << 31

// withDefaults fills in what is zero and refuses what makes no traffic.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Flows, 1000)
	setDefault(&c.Packets, 1_000_000)
	setDefault(&c.Interval, 60*time.Second)
	setDefault(&c.RTT, 200*time.Microsecond)
	setDefault(&c.Gap, 10*time.Microsecond)
	setDefault(&c.OneWay, max(c.RTT/2-10*time.Microsecond, 1))
	switch {
	case c.Flows < 0 || c.Flows > maxFlows || c.Packets < 0:
		return c, fmt.Errorf("%d flows in %d packets is no traffic", c.Flows, c.Packets)
	case c.Interval < 0 || c.RTT < 0 || c.Gap < 0 || c.OneWay < 0:
		return c, fmt.Errorf("negative duration: interval %v, RTT %v, gap %v, one way %v", c.Interval, c.RTT, c.Gap, c.OneWay)
	case 2*c.OneWay >= c.RTT:
		return c, fmt.Errorf("one-way delay %v does not fit twice into an RTT of %v", c.OneWay, c.RTT)
	case c.Shape == Keepalive && c.Interval/time.Duration(c.Flows) == 0:
		return c, fmt.Errorf("%d flows cannot all be probed within %v", c.Flows, c.Interval)
	case c.Shape == Keepalive && c.Interval <= c.RTT:
		return c, fmt.Errorf("interval %v is not longer than the RTT %v", c.Interval, c.RTT)
	case int(c.Shape) >= len(shapeWords) || int(c.Begin) >= len(beginWords) || int(c.Format) >= len(formatWords):
		return c, fmt.Errorf("unknown shape, beginning or format: %d, %d, %d", c.Shape, c.Begin, c.Format)
	case c.Pair && (c.NAT || c.Flows > pairPorts):
		return c, fmt.Errorf("one pair of hosts has %d ports, and no NAT", pairPorts)
	case c.NAT && c.IPv6:
		return c, fmt.Errorf("the source NAT has no IPv6 addresses")
	case c.VLAN > 4094:
		return c, fmt.Errorf("VLAN %d: the highest is 4094", c.VLAN)
	}
	if c.Shape == Churn {
		c.Flows = (c.Flows + churnSegments - 1) / churnSegments * churnSegments
	}
	return c, nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Write writes the capture that c describes to w. It fails where c makes no
// sense or w fails; Truth then counts what had been made up to there.
func Write(w io.Writer, c Config) (Truth, error) {
	c, err := c.withDefaults()
	if err != nil {
		return Truth{}, err
	}
	out := newWriter(w, c.Format)
	frames := newFrames(&c)
	var truth Truth
	for seg := range sighted(&c) {
		at := epoch + seg.at + int64(c.Clock)
		out.record(at, frames.size(&seg))
		frames.put(out.frame, &seg)
		truth.count(&seg, at)
		if out.err != nil {
			break
		}
	}
	out.flush()
	truth.Size = out.written
	return truth, out.err
}

// epoch is the moment, in Unix nanoseconds, at which the client's first segment
// leaves: 2026-01-05 00:00 UTC.
const epoch = 1_767_571_200 * int64(time.Second)

func (t *Truth) count(seg *segment, at int64) {
	if t.Packets == 0 {
		t.First = time.Unix(0, at).UTC()
	}
	t.Last = time.Unix(0, at).UTC()
	t.Packets++
	t.Flows = max(t.Flows, seg.flow+1) // flows appear in the order of their numbers
	if n := kinds[seg.kind].payload; n > 0 {
		t.Segments++
		t.Octets += uint64(n)
	}
	switch seg.kind {
	case syn:
		t.SYNs++
	case probe:
		t.Probes++
	case answer:
		t.Answers++
	case lastACK:
		t.Closed++
	}
}
