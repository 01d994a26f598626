// Package rewrite writes captures again: as pcapng, with comments that
// Wireshark and tshark show (draft-ietf-opsawg-pcapng).
package rewrite

import (
	"encoding/binary"
	"errors"
	"io"

	"kaflow/tcp"
)

// Block types and options of pcapng.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	optEnd     = 0
	optComment = 1
	optName    = 2 // if_name
	optUnits   = 9 // if_tsresol
	optProgram = 4 // shb_userappl
)

// longestComment is what an option can hold.
const longestComment = 0xffff - 3

// Writer writes one section of a pcapng file, little-endian, times in
// nanoseconds. The first error of the underlying writer is returned by all later
// calls.
type Writer struct {
	w      io.Writer
	buf    []byte
	ifaces map[uint32]uint32 // Iface number of the source → index in the section
	err    error
}

// NewWriter begins a section, with comments of its own.
func NewWriter(w io.Writer, program string, comments ...string) *Writer {
	x := &Writer{w: w, ifaces: map[uint32]uint32{}}
	body := le.AppendUint32(nil, 0x1a2b3c4d)
	body = le.AppendUint16(le.AppendUint16(body, 1), 0)
	body = le.AppendUint64(body, 1<<64-1) // length not given
	for _, c := range comments {
		body = option(body, optComment, []byte(c))
	}
	body = option(body, optProgram, []byte(program))
	x.block(blockSection, option(body, optEnd, nil))
	return x
}

var le = binary.LittleEndian

// Packet is one frame as it is written.
type Packet struct {
	Iface    uint32 // of the source; each becomes an interface of the section
	Link     uint32 // LINKTYPE_ number
	Name     string // of the interface; "" where it has none
	At       tcp.Instant
	Data     []byte
	Wire     uint32 // length on the link
	Comments []string
}

var errLink = errors.New("link type beyond 16 bits")

// Write writes one frame, and its interface before its first.
func (x *Writer) Write(p *Packet) error {
	index, known := x.ifaces[p.Iface]
	if !known {
		if p.Link > 0xffff {
			return errLink
		}
		index = uint32(len(x.ifaces))
		x.ifaces[p.Iface] = index
		body := le.AppendUint32(le.AppendUint16(le.AppendUint16(nil, uint16(p.Link)), 0), 0)
		if p.Name != "" {
			body = option(body, optName, []byte(p.Name))
		}
		body = option(body, optUnits, []byte{9})
		x.block(blockInterface, option(body, optEnd, nil))
	}
	at := uint64(max(p.At, 0))
	b := le.AppendUint32(x.buf[:0], index)
	b = le.AppendUint32(le.AppendUint32(b, uint32(at>>32)), uint32(at))
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(p.Data))), max(p.Wire, uint32(len(p.Data))))
	b = padded(append(b, p.Data...))
	for _, c := range p.Comments {
		b = option(b, optComment, []byte(c))
	}
	if len(p.Comments) > 0 {
		b = option(b, optEnd, nil)
	}
	x.buf = b
	x.block(blockPacket, b)
	return x.err
}

// block writes one block around its body, a whole number of words.
func (x *Writer) block(kind uint32, body []byte) {
	if x.err != nil {
		return
	}
	size := uint32(len(body) + 12)
	out := le.AppendUint32(le.AppendUint32(make([]byte, 0, size), kind), size)
	_, x.err = x.w.Write(le.AppendUint32(append(out, body...), size))
}

func option(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), longestComment)]
	b = le.AppendUint16(le.AppendUint16(b, code), uint16(len(value)))
	return padded(append(b, value...))
}

// padded fills up to a whole word.
func padded(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
