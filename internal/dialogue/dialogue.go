// Package dialogue turns a conversation written as text into packets: what a
// test says is what its reader sees. It answers "which octets would a capture
// hold if these segments had been sent?", at either end of a path with delay,
// clock error and loss.
//
// One line is one frame: when, who to whom, what.
//
//	C 192.0.2.1:40000                                  # an end: name and address (these are the defaults)
//	S 198.51.100.2:22 ttl 255 win 1024 id 0
//	delay C 20ms                                       # what C sends is 20 ms on its way
//	clock server +3s                                   # the server side's clock is ahead
//
//	0      C > S  SYN      seq 99  mss 1460 sackok ts 1000 0 wscale 7
//	+1ms   S > C  SYN,ACK  seq 899 ack 100
//	+1ms   C > S  ACK      seq 100 ack 900
//	+60s   C > S  ACK      seq 99  ack 900  lost       # recorded beside C only
//	+75s   C > S  ACK      seq 99  ack 900  x 8 lost   # eight of them, 75 s apart
//
// A time is a duration since the start (Go's notation) or, with a plus sign,
// since the line before. It is when the sender sent the frame.
//
// Flags are the names of RFC 9293 with commas between them, or none. Behind
// them come words: seq N, ack N, len N, data "text", data HEX, win N, ttl N, id N,
// ts VAL ECR, sack L-R, mss N, wscale N, sackok, vlan N, teid N (within GTP-U), badsum, x N (N times,
// each after the same delta), dup D (the same octets again after D), routed D (again
// after D with a TTL lower by one), lost (recorded at the sender's side
// only), @NAME (recorded at that vantage point only, at the time written).
//
// What a frame truly is stands behind it for those who test labels: = KIND, and
// then, where it matters, certain or inferred, and stream N. Where two kinds
// are as good as each other they stand with a bar between them.
//
// Other frames: C > S PING 1, S > C PONG 1, C > S UDP len 20, C > * ARP S,
// S > C ARP (the reply; neighbour discovery for IPv6), and R > C ICMP 3/13
// quoting N, where N counts the dialogue's frames from 1 (a line with x counts as often).
//
// Directives: link ethernet|raw|sll|null, snaplen N, start RFC3339,
// delay END D, clock POINT D, hops N (TTL difference between the two sides),
// drop END|both|nothing (from here on what that end sends is lost on its way).
// The vantage points are client, beside C, and server, beside S. Other ends
// stand where an end of the same address stands, or else between the two: what
// these send is recorded at its receiver's side only.
package dialogue

import (
	"net/netip"
	"time"

	"kaflow/tcp"
)

// Vantage points of a dialogue.
const (
	Client = "client"
	Server = "server"
)

// Script is a parsed conversation.
type Script struct {
	link    linkType
	snaplen int
	start   tcp.Instant
	ends    map[string]*end
	delay   map[string]time.Duration // by the sending end's name
	clock   map[string]time.Duration // by vantage point
	hops    int
	frames  []frame
}

// Frame is one recorded frame: when, and its octets as far as captured.
type Frame struct {
	At   tcp.Instant
	Data []byte
	Wire int // octets on the wire
	Want Truth
}

// Truth is what the dialogue says of a frame. What it leaves out is "", and
// -1 for the stream.
type Truth struct {
	Kind       string
	Confidence string
	Sender     string // Client or Server
	Stream     int
}

// linkType is a number of the tcpdump.org link type list.
type linkType uint32

const (
	linkNull     linkType = 0
	linkEthernet linkType = 1
	linkRaw      linkType = 101
	linkSLL      linkType = 113
)

// end is one named end of the conversation.
type end struct {
	name   string
	addr   netip.AddrPort
	side   string // Client, Server or "" between them
	ttl    uint8
	win    uint16
	nextID uint16
	noID   bool // its IP ID is always 0
	mac    [6]byte
}

// kind says which protocol a frame carries.
type kind uint8

const (
	kindTCP kind = iota
	kindUDP
	kindPing
	kindPong
	kindICMP
	kindARPRequest
	kindARPReply
)

// frame is one line of the conversation.
type frame struct {
	at       time.Duration // since the start
	from, to *end          // to is nil for a broadcast
	kind     kind
	seg      tcp.Segment
	sack     [][2]tcp.Seq
	data     []byte
	vlan     uint16
	teid     uint32 // of the GTP-U tunnel around it; 0 none
	badSum   bool
	echo     uint16 // echo sequence
	icmp     [2]uint8
	quotes   int  // index of the frame that an ICMP error quotes
	target   *end // of an ARP request
	lost     bool
	only     string // recorded at this vantage point only
	copies   []again
	want     Truth
}

// again is a second recording of a frame.
type again struct {
	after  time.Duration
	routed bool // with a TTL lower by one
}
