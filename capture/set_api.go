package capture

import "kaflow/tcp"

// File is what is known of one capture file after it was read.
type File struct {
	Path         tcp.Untrusted
	Format       string // "pcap", "pcap-ns", "pcapng", "snoop", …; with ", gzip" and so on for compression
	LinkTypes    []string
	Frames       uint64
	TCPFrames    uint64 // frames with a TCP header of their own (quotes in ICMP errors not)
	First, Last  tcp.Instant
	Complete     bool // read to its end without damage
	StillGrowing bool // ended inside a record, as a file that is being written does
	Problems     []Problem
	Undecoded    map[string]uint64 // frames not decoded, by reason
	Drops        uint64            // packets that the capturing system counted as dropped
	DropsKnown   bool              // the file says how many were dropped
	Interfaces   []Interface
	Unfiltered   bool // holds frames of other protocols or many hosts, so no narrow filter was set
}

// Interface is one capture interface of a file.
type Interface struct {
	Name, Description, Filter, OS tcp.Untrusted
	LinkType                      uint32
	SnapLen                       uint32
}

// Problem is damage in a file, as one line can tell it.
type Problem struct {
	Frame  uint64 // the frame at which it was met; 0 where none had been read
	Offset int64  // octets from the start of the (decompressed) file
	What   string
	Fatal  bool // reading ended here
}
