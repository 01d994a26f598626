package traffic

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"time"
)

const (
	bannerText   = "SSH-2.0-OpenSSH_9.6\r\n"
	requestText  = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
	responseText = "HTTP/1.1 204 No Content\r\nServer: example\r\n\r\n"
	fullSizeLen  = 1448 // an MTU of 1500 less IPv4, TCP and timestamps; with IPv6 it takes an MTU of 1520
	maxSegment   = 1460 // the MSS option
)

// TCP control bits, as in the header's fourteenth octet.
const (
	flagFIN = 1 << iota
	flagSYN
	_
	flagPSH
	flagACK
)

// kinds are the octets that all segments of a kind share.
var kinds = [kindCount]struct {
	flags   byte
	text    string
	payload int
}{
	syn:      {flags: flagSYN},
	synACK:   {flags: flagSYN | flagACK},
	pureACK:  {flags: flagACK},
	banner:   {flags: flagACK | flagPSH, text: bannerText, payload: len(bannerText)},
	request:  {flags: flagACK | flagPSH, text: requestText, payload: len(requestText)},
	response: {flags: flagACK | flagPSH, text: responseText, payload: len(responseText)},
	fullSize: {flags: flagACK, text: strings.Repeat("kaflow..", fullSizeLen/8), payload: fullSizeLen},
	probe:    {flags: flagACK},
	answer:   {flags: flagACK},
	fin:      {flags: flagFIN | flagACK},
	lastACK:  {flags: flagACK},
}

const (
	tcpLen       = 32 // with NOP, NOP, timestamps
	tcpSYNLen    = 40 // with MSS, SACK permitted, timestamps, window scale
	windowScale  = 7
	hops         = 3 // routers between the two vantage points
	initialTTL   = 64
	flowsPerHost = 50 // flows of one client to one server
	clients      = 60_000
	servers      = 250
	firstPort    = 1024
	pairPorts    = 60_000
)

// frames makes the octets of segments: a template for every kind and direction,
// into which the numbers of one segment are written.
type frames struct {
	seed      uint64
	ipv6      bool
	nat       bool
	pair      bool
	shift     bool
	ip        int // where the IP header begins
	port      uint16
	templates [2][kindCount]template
}

// A template is a frame with zeros where segments differ, and the sums of the
// octets that stay.
type template struct {
	octets []byte
	tcp    int    // where the TCP header begins
	stamps int    // where TSval stands
	ipSum  uint64 // of the IPv4 header
	tcpSum uint64 // of pseudo header, TCP header and payload
}

func newFrames(c *Config) *frames {
	f := &frames{seed: mix(c.Seed ^ 0x6b61666c6f77), ipv6: c.IPv6, nat: c.NAT, pair: c.Pair, shift: c.Shift, ip: 14, port: 22}
	if c.Shape == Churn {
		f.port = 80
	}
	if c.VLAN != 0 {
		f.ip += 4
	}
	for reply := range f.templates {
		ttl := byte(initialTTL)
		if (reply == 1) != c.ServerSide { // sent at the far end
			ttl -= hops
		}
		for k := range f.templates[reply] {
			f.templates[reply][k] = newTemplate(c, kind(k), reply == 1, ttl)
		}
	}
	return f
}

func newTemplate(c *Config, k kind, reply bool, ttl byte) template {
	b := linkHeader(c, reply)
	ip := len(b)
	tcpSize := tcpLen
	if kinds[k].flags&flagSYN != 0 {
		tcpSize = tcpSYNLen
	}
	length := tcpSize + kinds[k].payload
	if c.IPv6 {
		b = append(b, 0x60, 0, 0, 0, byte(length>>8), byte(length), 6, ttl)
		b = append(b, make([]byte, 32)...)
	} else {
		b = append(b, 0x45, 0, byte((20+length)>>8), byte(20+length), 0, 0, 0x40, 0, ttl, 6, 0, 0)
		b = append(b, make([]byte, 8)...)
	}
	t := template{tcp: len(b)}
	if !c.IPv6 {
		t.ipSum = sum(b[ip:])
	}
	b = append(b, make([]byte, 12)...) // ports, SEQ, ACK
	b = append(b, byte(tcpSize/4)<<4, kinds[k].flags, 0xfa, 0xf0, 0, 0, 0, 0)
	b, t.stamps = appendOptions(b, k)
	b = append(b, kinds[k].text...)
	t.tcpSum = sum(b[t.tcp:]) + 6 + uint64(length) // the pseudo header without addresses
	t.octets = b
	return t
}

func linkHeader(c *Config, reply bool) []byte {
	client, router := [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	src, dst := client, router
	if reply {
		src, dst = router, client
	}
	b := append(append([]byte{}, dst[:]...), src[:]...)
	if c.VLAN != 0 {
		b = append(b, 0x81, 0, byte(c.VLAN>>8), byte(c.VLAN))
	}
	if c.IPv6 {
		return append(b, 0x86, 0xdd)
	}
	return append(b, 8, 0)
}

// appendOptions appends the TCP options of a kind and says where TSval stands.
func appendOptions(b []byte, k kind) (octets []byte, stamps int) {
	if kinds[k].flags&flagSYN == 0 {
		b = append(b, 1, 1, 8, 10)
		return append(b, make([]byte, 8)...), len(b)
	}
	b = append(b, 2, 4, maxSegment>>8, maxSegment&0xff, 4, 2, 8, 10)
	stamps = len(b)
	b = append(b, make([]byte, 8)...)
	return append(b, 1, 3, 3, windowScale), stamps
}

// size is the length of a segment's frame in octets.
func (f *frames) size(seg *segment) int { return len(f.template(seg).octets) }

func (f *frames) template(seg *segment) *template {
	if seg.reply {
		return &f.templates[1][seg.kind]
	}
	return &f.templates[0][seg.kind]
}

// put writes a segment's frame into b, which has its size.
func (f *frames) put(b []byte, seg *segment) {
	t := f.template(seg)
	copy(b, t.octets)
	client, server, port := ends(seg.flow)
	if f.pair {
		client, server, port = 1, 1, uint16(firstPort+seg.flow%pairPorts)
	}
	if f.nat {
		client, port = public(seg.flow)
		client -= netClient
	}
	flowSum := f.putIP(b[f.ip:], t, seg, client, server)

	isn := mix(f.seed ^ seg.flow)
	clock := mix(isn)
	if f.shift {
		isn = mix(clock)
	}
	seq, ack := uint32(isn>>32)+seg.seq, uint32(isn)+seg.ack
	val, ecr := uint32(clock>>32), uint32(clock)
	ports := uint32(port)<<16 | uint32(f.port)
	if seg.reply {
		seq, ack = uint32(isn)+seg.seq, uint32(isn>>32)+seg.ack
		val, ecr = ecr, val
		ports = bits.RotateLeft32(ports, 16)
	}
	val, ecr = val+ticks(seg.sent), ecr+ticks(seg.echo)
	if !seg.hasEcho() {
		ack, ecr = 0, 0
	}
	h := b[t.tcp:]
	binary.BigEndian.PutUint32(h, ports)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	s := b[t.stamps:]
	binary.BigEndian.PutUint32(s, val)
	binary.BigEndian.PutUint32(s[4:], ecr)
	total := t.tcpSum + flowSum + uint64(ports) + uint64(seq) + uint64(ack) + uint64(val) + uint64(ecr)
	binary.BigEndian.PutUint16(h[16:], fold(total))
}

// putIP writes addresses, ID and checksum of an IP header and returns the sum
// of the addresses.
func (f *frames) putIP(ip []byte, t *template, seg *segment, client, server uint32) uint64 {
	if f.ipv6 {
		src, dst := prefixClient, prefixServer
		if seg.reply {
			src, dst, client, server = dst, src, server, client
		}
		binary.BigEndian.PutUint64(ip[8:], src)
		binary.BigEndian.PutUint64(ip[16:], uint64(client))
		binary.BigEndian.PutUint64(ip[24:], dst)
		binary.BigEndian.PutUint64(ip[32:], uint64(server))
		return halves(src) + halves(dst) + uint64(client) + uint64(server)
	}
	src, dst := netClient+client, netServer+server
	if seg.reply {
		src, dst = dst, src
	}
	id := uint16(0)
	if seg.kind != synACK { // Linux sends those with ID 0
		id = uint16(mix(seg.flow)) + uint16(seg.turn)
		if seg.reply {
			id += 0x8000
		}
	}
	binary.BigEndian.PutUint16(ip[4:], id)
	binary.BigEndian.PutUint32(ip[12:], src)
	binary.BigEndian.PutUint32(ip[16:], dst)
	addresses := uint64(src) + uint64(dst)
	binary.BigEndian.PutUint16(ip[10:], fold(t.ipSum+addresses+uint64(id)))
	return addresses
}

// Networks kept for benchmarks (RFC 2544) and documentation (RFC 3849).
const (
	netClient    = uint32(198<<24 | 18<<16)
	netServer    = uint32(198<<24 | 19<<16)
	netPublic    = uint32(198<<24 | 51<<16 | 100<<8) // RFC 5737
	prefixClient = uint64(0x20010db8_00000001)
	prefixServer = uint64(0x20010db8_00000002)
)

// ends returns the host numbers and the client's port of a flow, from 1 and
// firstPort on. Flows up to maxFlows differ in at least one of them.
func ends(flow uint64) (client, server uint32, port uint16) {
	host := flow / flowsPerHost
	n := flow%flowsPerHost + host/clients*flowsPerHost
	host %= clients
	return uint32(host) + 1, uint32(host%servers) + 1, uint16(firstPort + n)
}

// public returns the address and port that a source NAT gives a flow.
func public(flow uint64) (addr uint32, port uint16) {
	const ports = 60_000
	return netPublic + uint32(flow/ports) + 7, uint16(firstPort + flow%ports*7919%ports)
}

// ticks turns a moment into the unit of the timestamps option: 1 ms.
func ticks(at int64) uint32 {
	return uint32((epoch + at) / int64(time.Millisecond)) // Unix time, so that moments before the epoch are positive too
}

// mix spreads the bits of x (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sum adds b up in words of 16 bits, an odd octet standing before a zero.
func sum(b []byte) (s uint64) {
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func halves(x uint64) uint64 { return x>>32 + x&0xffffffff }

// fold makes the Internet checksum (RFC 1071) of a sum of words of any size
// that is a multiple of 16 bits.
func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
