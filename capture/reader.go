package capture

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"kaflow/tcp"
)

const (
	readBuffer = 256 << 10 // grows only where one record is larger
	maxRecord  = 262_144   // octets of one captured frame, as libpcap and Wireshark have it
	maxEmpty   = 1_000_000 // frames without an octet in a row; more is a decompression bomb
)

// window is the stretch of a file that is in memory: one buffer, reused for
// the whole file and for the files after it, or a mapping of a large one.
type window struct {
	in     io.Reader
	buf    []byte // buf[at:end] is read and not yet taken
	at     int
	end    int
	start  int64      // offset of buf[0] in the (decompressed) file
	err    error      // why in gives no more
	limit  int64      // octets of the file, unpacked, that are taken; one more shows that there are more
	file   *largeFile // nil: buf is read into from in
	spare  []byte     // of a large file: the buffer for stretches that are read, and for later
	peeked int        // of a mapping: records before were looked at (see peek)
}

// reset starts over with another file.
func (w *window) reset(in io.Reader) {
	buf := w.own()
	if buf == nil {
		buf = make([]byte, readBuffer)
	}
	*w = window{limit: w.limit, in: in, buf: buf}
}

// offset returns where in the file the next record starts.
func (w *window) offset() int64 { return w.start + int64(w.at) }

// stopAtLimit leaves out what is beyond the limit, and reports whether something is.
func (w *window) stopAtLimit() bool {
	if w.start+int64(w.end) <= w.limit {
		return false
	}
	w.end = max(w.at, int(w.limit+1-w.start))
	return true
}

// left returns how many octets are there and not yet taken.
func (w *window) left() int { return w.end - w.at }

// want brings at least n octets into the buffer, moving what is left to its
// front, and reports whether they are there. The buffer grows with what was
// read, never with what a record merely claims.
func (w *window) want(n int) bool {
	if w.left() >= n {
		return true
	}
	if w.file != nil {
		if w.stretch(n) {
			return true
		}
		w.plainly() // the end of the file, and what was written since
	}
	if w.at > 0 {
		copy(w.buf, w.buf[w.at:w.end])
		w.start += int64(w.at)
		w.at, w.end = 0, w.end-w.at
	}
	for idle := 0; w.end < n && w.err == nil; {
		if w.end == len(w.buf) {
			w.buf = append(w.buf, make([]byte, len(w.buf))...)
		}
		var got int
		got, w.err = w.in.Read(w.buf[w.end:])
		w.end += got
		if w.stopAtLimit() {
			break
		}
		if idle++; got > 0 {
			idle = 0
		} else if idle == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return w.end >= n
}

// container knows one file format. records takes the records that are whole in
// the window until the batch is full or a hole belongs before the next one.
// Where the next record is not whole it returns how many octets it needs; at
// damage it returns what is wrong, again each time it is asked.
type container interface {
	records(r *reader, b *Batch) (need int, err error)
	unit() string // what a record is called
}

// iface is what each record of an interface needs.
type iface struct {
	mul, div    uint64 // time units to nanoseconds: times mul, then by div
	offset      int64  // seconds to add to each time
	first, last tcp.Instant
	told        tcp.Instant // when its drop counters were last told
	drops       uint64      // what they said
	link, snap  uint32
	number      uint32 // Packet.Iface
	fcs         uint32 // octets of frame check sequence behind each frame
	lead        lead   // of plain frames
	plain       bool   // there may be some
	shift       uint8  // a power-of-two resolution: by 2^shift
}

// reader holds what all containers need: the window, the decoder and the
// counters of the file at hand.
type reader struct {
	window
	dec     decoder
	ifaces  []iface // of the section at hand
	file    *File
	ord     tcp.Ordinal // of the frame before
	frames  uint64      // of this file so far
	empty   int         // frames without an octet in a row
	lost    uint64      // times that did not fit an Instant and were cut to what does
	holes   []Interval  // found before the next record
	known   map[ifaceID]uint32
	next    uint32 // number of the next new interface
	each    func(*Packet, Frame)
	other   func(Block)  // nil: nobody asks for blocks without packets
	told    PacketBlock  // of the frame at hand
	rewrite func(*Frame) // nil: frames are taken as they are
	asIs    bool         // nobody asks for frames or changes them
	row     row
	bare    lookout
	strides [2]int // from one record to the next: the last two that differ (see peek)
	peekSum byte   // of what peek has read, so that it does
	inRow   int    // so many records are lined up next
	others  int    // so many frames are taken one by one before a row is tried again
	single  int    // and so many were
}

// ifaceID tells the interfaces of a set apart: the same place in two files of
// one rotation, with the same name and link type, is one interface.
type ifaceID struct {
	section, index int
	name           tcp.Untrusted
	link           uint32
}

// maxKnown bounds the interfaces that are recognised in a later file.
const maxKnown = 4096

// number returns the number of an interface within the set.
func (r *reader) number(id ifaceID) uint32 {
	if n, known := r.known[id]; known {
		return n
	}
	n := r.next
	r.next++
	if len(r.known) < maxKnown {
		if r.known == nil {
			r.known = make(map[ifaceID]uint32)
		}
		r.known[id] = n
	}
	return n
}

// addIface starts another interface of the file.
func (r *reader) addIface(i iface, told Interface, section int) {
	if r.rewrite != nil {
		told = Interface{}
	}
	i.lead, i.plain = leadOf(i.link)
	i.number = r.number(ifaceID{section, len(r.ifaces), told.Name, i.link})
	r.ifaces = append(r.ifaces, i)
	if len(r.file.Interfaces) < maxListed {
		told.Number, told.LinkType, told.SnapLen = i.number, i.link, i.snap
		r.file.Interfaces = append(r.file.Interfaces, told)
	}
	r.addLink(linkName(i.link))
}

func (r *reader) addLink(name string) {
	for _, known := range r.file.LinkTypes {
		if known == name {
			return
		}
	}
	if len(r.file.LinkTypes) < maxListed {
		r.file.LinkTypes = append(r.file.LinkTypes, name)
	}
}

// foreignLink marks link types of another numbering, which cannot be decoded.
const foreignLink = 1 << 31

// record is where in the buffer a record lies: its beginning, its frame and
// how many octets of it were captured, and how long that was on the link.
type record struct {
	at, frame, n int
	wire         uint32
}

// packet appends one frame to the batch, seen on f at an instant.
func (r *reader) packet(b *Batch, f *iface, rec record, at tcp.Instant) {
	p := &b.Pkts[b.N]
	b.N++
	r.ord++
	r.frames++
	*p = Packet{}
	p.At, p.Ord, p.Iface, p.Rec = at, r.ord, f.number, uint32(rec.at)
	if at != 0 {
		if at < f.last {
			p.Note = NoteClockStep
		}
		if f.first == 0 {
			f.first = at
		}
		f.last = at
	}
	if f.link == linkEthernet && r.asIs && f.fcs == 0 && rec.n == int(rec.wire) {
		if p.Data, p.DataLen = uint32(rec.frame), uint32(rec.n); rec.frame+plainRoom <= len(r.buf) && plainRow(r.buf, b.Pkts[b.N-1:b.N], false) == 1 {
			return
		}
		p.Data, p.DataLen = 0, 0
	}
	r.odd(b, f, rec, p)
}

// odd is the end of packet for all frames that are not plain.
func (r *reader) odd(b *Batch, f *iface, rec record, p *Packet) {
	if f.fcs != 0 && rec.wire > f.fcs {
		r.told.WireFCS, r.told.FCS = f.fcs, uint32(max(0, rec.n-int(rec.wire-f.fcs)))
		rec.wire -= f.fcs
		rec.n = min(rec.n, int(rec.wire))
	}
	if r.rewrite != nil {
		r.rewritten(b, f, rec, p)
		return
	}
	if f.link&foreignLink != 0 {
		r.dec.count(fmt.Sprintf("snoop link type %d is not supported", f.link&^foreignLink))
	} else {
		r.dec.frame(f.link, uint32(rec.frame), r.buf[rec.frame:rec.frame+rec.n:rec.frame+rec.n], rec.wire, p)
	}
	if r.each != nil {
		r.each(p, Frame{Link: f.link, Wire: rec.wire, Data: r.buf[rec.frame : rec.frame+rec.n], Base: uint32(rec.frame), Told: r.told})
	}
}

// rewritten is the end of packet for frames that are changed first.
func (r *reader) rewritten(b *Batch, f *iface, rec record, p *Packet) {
	frame := Frame{Link: f.link, Wire: rec.wire, Data: r.buf[rec.frame : rec.frame+rec.n : rec.frame+rec.n], Base: uint32(rec.frame), Told: r.told}
	r.rewrite(&frame)
	if frame.Link&foreignLink != 0 {
		r.dec.count("snoop link type that is not supported")
	} else {
		r.dec.frame(frame.Link, frame.Base, frame.Data, frame.Wire, p)
	}
	if r.each != nil {
		r.each(p, frame)
	}
}

// noPacket appends a frame that is a record of something else than a packet,
// as Wireshark counts them too.
func (r *reader) noPacket(b *Batch, reason string) {
	b.Pkts[b.N] = Packet{Ord: r.ord + 1, Rec: uint32(r.at)}
	b.N++
	r.ord++
	r.frames++
	r.dec.count(reason)
}

var errEmpty = errors.New("a million frames without an octet in a row")

// tooEmpty counts frames without octets and reports when it was too many.
func (r *reader) tooEmpty(n uint32) bool {
	if n > 0 {
		r.empty = 0
		return false
	}
	r.empty++
	return r.empty > maxEmpty
}

// instant turns a time in an interface's units into an Instant, saturating.
func (r *reader) instant(f *iface, units uint64) tcp.Instant {
	hi, lo := bits.Mul64(units, f.mul)
	switch {
	case f.shift >= 64:
		lo, hi = hi>>(f.shift-64), 0
	case f.shift > 0:
		lo, hi = lo>>f.shift|hi<<(64-f.shift), hi>>f.shift
	case f.div > 1:
		lo, hi = lo/f.div, 0
	}
	if hi != 0 || lo > uint64(tcp.MaxInstant) {
		r.lost++
		lo = uint64(tcp.MaxInstant)
	}
	if f.offset == 0 {
		return tcp.Instant(lo)
	}
	return r.shifted(tcp.Instant(lo), f.offset)
}

// shifted adds seconds to an instant, saturating.
func (r *reader) shifted(t tcp.Instant, seconds int64) tcp.Instant {
	const second = 1_000_000_000
	hi, lo := bits.Mul64(uint64(max(seconds, -seconds)), second)
	switch sum := t + tcp.Instant(seconds*second); {
	case seconds > 0 && (hi != 0 || lo > uint64(tcp.MaxInstant) || sum < t):
		r.lost++
		return tcp.MaxInstant
	case seconds < 0 && (hi != 0 || lo > uint64(tcp.MaxInstant) || sum > t):
		r.lost++
		return tcp.MinInstant
	default:
		return sum
	}
}

// hole notes an interval that was not recorded.
func (r *reader) hole(from, to tcp.Instant, why Why) {
	if from != 0 && to != 0 && from <= to {
		r.holes = append(r.holes, Interval{From: from, To: to, Why: why})
	}
}
