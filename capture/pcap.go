package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"kaflow/tcp"
)

// Magic numbers of pcap files, as their first four octets read in the byte
// order of the writer.
const (
	pcapMicros   = 0xa1b2c3d4
	pcapNanos    = 0xa1b23c4d
	pcapModified = 0xa1b2cd34 // Alexey Kuznetzov's: 8 more octets per record header
)

const (
	pcapHeader = 24
	fcsPresent = 1 << 26 // in the link type field: its upper 4 bits count 16-bit words of check sequence
)

// pcap reads libpcap's file format (draft-ietf-opsawg-pcap). The snap length
// of its header is a hint only: files exist that break it.
type pcap struct {
	head    int   // octets of a record header
	tick    int64 // nanoseconds per unit of the sub-second field
	swap    bool  // written big-endian
	usual   bool  // little-endian records of 16 octets, captured length first, no check sequences
	lengths lengths
}

// lengths says in which order a record header holds its two lengths: files of
// versions before 2.3 and of DG/UX have the original length first.
type lengths uint8

const (
	capturedFirst lengths = iota
	originalFirst
	smallerCaptured // version 2.3: both orders exist
)

// isPcap reports whether a file that begins with b is a pcap file.
func isPcap(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for _, magic := range [...]uint32{be32(b), le32(b)} {
		if magic == pcapMicros || magic == pcapNanos || magic == pcapModified {
			return true
		}
	}
	return false
}

// openPcap reads the file header and returns the container for its records.
func openPcap(r *reader) (container, string, error) {
	if !r.want(pcapHeader) {
		return nil, "", fmt.Errorf("pcap file header needs %d octets, %d left", pcapHeader, r.left())
	}
	h := r.buf[r.at:]
	p := &pcap{head: 16, tick: 1000}
	var order binary.ByteOrder = binary.LittleEndian
	if h[0] == 0xa1 {
		order, p.swap = binary.BigEndian, true
	}
	format := "pcap"
	switch order.Uint32(h) {
	case pcapNanos:
		p.tick, format = 1, "pcap-ns"
	case pcapModified:
		p.head, format = 24, "pcap-modified"
	}
	switch major, minor := order.Uint16(h[4:]), order.Uint16(h[6:]); {
	case major < 2:
		return nil, "", fmt.Errorf("pcap version %d.%d is not supported", major, minor)
	case major == 2 && minor < 3, major == 543 && minor == 0:
		p.lengths = originalFirst
	case major == 2 && minor == 3:
		p.lengths = smallerCaptured
	}
	f := iface{snap: order.Uint32(h[16:])}
	link := order.Uint32(h[20:])
	if link&fcsPresent != 0 {
		f.fcs = link >> 28 * 2
	}
	f.link = link & 0xffff
	r.at += pcapHeader
	p.usual = !p.swap && p.head == 16 && p.lengths == capturedFirst && f.fcs == 0
	r.addIface(f, Interface{}, 0)
	return p, format, nil
}

func (p *pcap) unit() string { return "packet record" }

func (p *pcap) records(r *reader, b *Batch) (need int, err error) {
	most := BatchSize
	for usual := p.usual && r.asIs && r.ifaces[0].plain; b.N < BatchSize; {
		if usual && r.empty == 0 {
			r.at = r.takeRows(b, &r.ifaces[0], pcapStride, func(w *row) { p.lineUp(r, w) })
			if b.Bare.N > 0 {
				break
			}
			most = min(b.N+1, BatchSize) // then the one that is not plain
		}
		if r.at, need, err = p.take(r, b, r.at, most); need > 0 || err != nil {
			return need, err
		}
		most = BatchSize
	}
	return 0, nil
}

var pcapStride = stride{length: 8, head: 16}

// lineUp lines up the records of a row that may hold plain frames.
func (p *pcap) lineUp(r *reader, w *row) {
	buf, pkts, at, tick, iface := r.buf[:r.end:r.end], w.pkts, w.at, p.tick, r.ifaces[0].number
	n, soonest := 0, max(w.last, 1)
	for n < len(pkts) && at+16+plainRoom <= len(buf) {
		h := (*[16]byte)(buf[at : at+16])
		size, wire := le32(h[8:]), le32(h[12:])
		next := at + 16 + int(size)
		when := tcp.Instant(int64(le32(h[0:]))*1_000_000_000 + int64(le32(h[4:]))*tick)
		if size > maxRecord || next > len(buf) || when < soonest {
			break
		}
		k := &pkts[n]
		n++
		if w.bare {
			k.Note = 0
		} else {
			*k = Packet{}
		}
		k.At, k.Ord, k.Iface, k.Rec = when, w.ord+tcp.Ordinal(n), iface, uint32(at)
		k.Data, k.DataLen = uint32(at)+16, size
		if size != wire {
			if size > wire {
				n--
				break
			}
			k.Note = NoteCut
		}
		soonest, at = when, next
	}
	w.n, w.at = n, at
}

// take takes records from offset at of the buffer on, until the batch has most,
// and returns where the next one begins: a value in a register, for each record waits for where the
// one before ended.
func (p *pcap) take(r *reader, b *Batch, at, most int) (next, need int, err error) {
	f := &r.ifaces[0]
	buf := r.buf[:r.end]
	for b.N < most {
		rest := buf[at:]
		if len(rest) < 16 || len(rest) < p.head {
			return at, p.head, nil
		}
		h := (*[16]byte)(rest)
		sec, sub, n, wire := le32(h[0:]), le32(h[4:]), le32(h[8:]), le32(h[12:])
		if p.swap {
			sec, sub = bits.ReverseBytes32(sec), bits.ReverseBytes32(sub)
			n, wire = bits.ReverseBytes32(n), bits.ReverseBytes32(wire)
		}
		if p.lengths != capturedFirst && (p.lengths == originalFirst || n > wire) {
			n, wire = wire, n
		}
		if n > maxRecord {
			return at, 0, fmt.Errorf("packet record claims %d octets, more than %d", n, maxRecord)
		}
		if (n == 0 || r.empty > 0) && r.tooEmpty(n) {
			return at, 0, errEmpty
		}
		size := p.head + int(n)
		if len(rest) < size {
			return at, size, nil
		}
		when := tcp.Instant(int64(sec)*1_000_000_000 + int64(sub)*p.tick)
		r.packet(b, f, record{at, at + p.head, int(n), wire}, when)
		at += size
	}
	return at, 0, nil
}
