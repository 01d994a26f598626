// Package tcp holds the words that every other package speaks: positions in a
// sequence space, header flags, the decoded header of one segment, instants of
// packet time, and text that came from a capture. It imports nothing of ours
// and nothing of gopacket, and its stored types hold no pointers.
package tcp

import "strings"

// Seq is an octet's position in one direction's sequence space (RFC 9293,
// section 3.4). Positions wrap at 2^32, so two of them are ordered only while
// they lie less than 2^31 octets apart.
type Seq uint32

// Add returns the position n octets after s; a negative n goes back.
func (s Seq) Add(n int) Seq { return s + Seq(uint32(n)) }

// Sub returns how many octets s lies after t, negative where it lies before.
func (s Seq) Sub(t Seq) int { return int(int32(s - t)) }

// Before reports whether s lies before t.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// After reports whether s lies after t.
func (s Seq) After(t Seq) bool { return int32(s-t) > 0 }

// Flags are the control bits of a TCP header, in header order (RFC 9293,
// section 3.1, with AE of RFC 9768 above them).
type Flags uint16

// The control bits.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

var flagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"}

// Has reports whether all bits of mask are set.
func (f Flags) Has(mask Flags) bool { return f&mask == mask }

// Any reports whether at least one bit of mask is set.
func (f Flags) Any(mask Flags) bool { return f&mask != 0 }

// String lists the bits as tcpdump users know them: "SYN,ACK".
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Options tells which TCP options a segment carried.
type Options uint8

// The options that matter here. OptCut says that the option list was damaged
// or cut by the snap length, so that absence of the others proves nothing.
const (
	OptMSS Options = 1 << iota
	OptWScale
	OptSACKPermitted
	OptSACK
	OptTimestamps
	OptUserTimeout
	OptAuth // MD5 (RFC 2385) or TCP-AO (RFC 5925)
	OptCut
)

// Has reports whether all bits of mask are set.
func (o Options) Has(mask Options) bool { return o&mask == mask }

// Segment is the decoded TCP header of one segment together with what the IP
// header says of it. 44 octets, no pointers.
type Segment struct {
	Seq, Ack     Seq
	SackL, SackR Seq    // first SACK block: the D-SACK witness; set when Opts has OptSACK
	Len          uint32 // payload octets by the IP header, not the snap length; above 65,535 with BIG TCP
	TSVal, TSEcr uint32 // timestamps; set when Opts has OptTimestamps
	OptHash      uint32 // option kinds in order, for SYN fingerprints; 0 without options
	Win          uint16 // window field as sent, unscaled
	IPID         uint16 // IPv4 identification; 0 for IPv6
	MSS          uint16 // set when Opts has OptMSS
	Flags        Flags
	TTL          uint8 // or the IPv6 hop limit
	WScale       uint8 // shift count; set when Opts has OptWScale
	Opts         Options
}

// End returns the position after the segment's last octet, SYN and FIN taking
// one position each.
func (s *Segment) End() Seq {
	end := s.Seq + Seq(s.Len)
	if s.Flags&SYN != 0 {
		end++
	}
	if s.Flags&FIN != 0 {
		end++
	}
	return end
}

// DSACK reports whether the first SACK block reports octets below the
// cumulative acknowledgment as received twice (RFC 2883, section 4).
func (s *Segment) DSACK() bool {
	return s.Opts.Has(OptSACK) && s.SackL.Before(s.SackR) && !s.SackR.After(s.Ack)
}

// Untrusted is text that came from a capture or a file name. Only render's
// escaping types make output of it.
type Untrusted string

// Ordinal numbers the frames of one vantage point through all its files, from
// 1; 0 is none. capture.Set.Frame turns it into a file and its frame number.
type Ordinal uint64
