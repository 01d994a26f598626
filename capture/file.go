package capture

import (
	"fmt"

	"kaflow/tcp"
)

// File is what is known of one capture file after it was read.
type File struct {
	Path         tcp.Untrusted
	Format       string // "pcap", "pcap-ns", "pcapng", "snoop", …; with ", gzip" and so on for compression
	LinkTypes    []string
	Frames       uint64
	TCPFrames    uint64      // frames with a TCP header of their own (quotes in ICMP errors not)
	First, Last  tcp.Instant // earliest and latest frame
	Complete     bool        // read to its end without damage
	SHA256       string      // of the whole file as it lies there, compressed or not; "" where Options.Hash did not ask for it, or a stream was not read to its end
	StillGrowing bool        // ended inside a record, as a file that is being written does
	Problems     []Problem
	Undecoded    map[string]uint64 // frames not decoded, by reason
	Drops        uint64            // packets that the capturing system counted as dropped
	DropsKnown   bool              // the file says how many were dropped
	Interfaces   []Interface       // the first 32
	Unfiltered   bool              // holds frames of other protocols or many hosts, so no narrow filter was set
	Comments     []tcp.Untrusted   // of the file or its sections, not of packets; the first 32
}

// Interface is one capture interface of a file.
type Interface struct {
	Name, Description, Filter, OS tcp.Untrusted
	LinkType                      uint32
	SnapLen                       uint32
	Number                        uint32 // Packet.Iface of its packets
}

// Problem is damage in a file, as one line can tell it.
type Problem struct {
	Frame  uint64 // the frame at which it was met; 0 where none had been read
	Offset int64  // octets from the start of the (decompressed) file
	What   string
	Fatal  bool // reading ended here
	Limit  bool // one of our own limits ended it, not the file
}

// String tells the problem with its place: "frame 812, offset 0x1b3c4: packet
// record needs 16 octets, 6 left".
func (p *Problem) String() string {
	if p.Frame == 0 {
		return fmt.Sprintf("offset %#x: %s", p.Offset, p.What)
	}
	return fmt.Sprintf("frame %d, offset %#x: %s", p.Frame, p.Offset, p.What)
}

// maxListed bounds how many interfaces, comments and problems of one file are
// listed.
const maxListed = 32

// maxText bounds text taken from a capture, in octets.
const maxText = 255

// text returns an option's string: up to its first NUL, at most maxText octets.
func text(b []byte) tcp.Untrusted {
	b = b[:min(len(b), maxText)]
	for i, c := range b {
		if c == 0 {
			b = b[:i]
			break
		}
	}
	return tcp.Untrusted(b)
}

// linkNames holds the names of LINKTYPE_ numbers that are met in practice.
var linkNames = map[uint32]string{
	linkNull: "NULL", linkEthernet: "ETHERNET", 6: "IEEE802_5", linkARCNETBSD: "ARCNET_BSD", 8: "SLIP",
	linkPPP: "PPP", linkFDDI: "FDDI", linkRawBSD: "RAW", linkRawOBSD: "RAW", linkPPPHDLC: "PPP_HDLC",
	linkPPPoE: "PPP_ETHER", linkRaw: "RAW", linkCHDLC: "C_HDLC", linkDot11: "IEEE802_11", linkFrameRel: "FRELAY",
	linkLoop: "LOOP", linkSLL: "LINUX_SLL", linkPrism: "IEEE802_11_PRISM", linkRadiotap: "IEEE802_11_RADIOTAP",
	linkARCNET: "ARCNET_LINUX", linkAVS: "IEEE802_11_AVS", linkPPI: "PPI", linkPPPDir: "PPP_WITH_DIR",
	linkMPLS: "MPLS", linkIPv4: "IPV4", linkIPv6: "IPV6", linkNFLOG: "NFLOG", linkPKTAP: "PKTAP",
	linkSLL2: "LINUX_SLL2",
}

// linkName returns a link type as the report shows it: "ETHERNET(1)".
func linkName(link uint32) string {
	switch name, known := linkNames[link]; {
	case known:
		return fmt.Sprintf("%s(%d)", name, link)
	case link&foreignLink != 0:
		return fmt.Sprintf("snoop(%d)", link&^foreignLink)
	}
	return fmt.Sprintf("%d", link)
}
