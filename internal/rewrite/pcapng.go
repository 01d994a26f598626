// Package rewrite writes captures again as pcapng (draft-ietf-opsawg-pcapng):
// with comments that Wireshark and tshark show, the file's own blocks kept, or
// with everything replaced that tells who and what.
package rewrite

import (
	"encoding/binary"
	"errors"
	"io"

	"kaflow/capture"
	"kaflow/tcp"
)

// Block types and options of pcapng.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockNames      = 4
	blockStatistics = 5
	blockPacket     = 6
	blockSecrets    = 10
	blockCustomOwn  = 0x40000bad // a custom block that must not be copied

	optEnd         = 0
	optComment     = 1
	optHash        = 3 // epb_hash
	optDrops       = 4 // epb_dropcount
	optName        = 2 // if_name
	optDescription = 3 // if_description
	optUnits       = 9 // if_tsresol
	optProgram     = 4 // shb_userappl
)

// longestComment is what an option can hold.
const longestComment = 0xffff - 3

// Keep says which blocks without packets are written again. Blocks of a kind
// that is not known are.
type Keep struct {
	Names   bool // name resolution
	Secrets bool // decryption secrets
	Nothing bool // numbers alone, no text: what a sanitised capture may hold
}

// Writer writes pcapng files: sections of its own, little-endian with times in
// nanoseconds, and copies of other files' sections in their own byte order. The
// first error of the underlying writer is returned by all later calls.
type Writer struct {
	Keep Keep

	w        io.Writer
	program  string
	comments []string // of the first section
	order    order
	begun    bool
	copying  bool              // the section at hand is a copy
	ifaces   map[uint32]uint32 // Iface number of the source → index in a section of our own
	buf      []byte
	err      error
}

type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// NewWriter returns a writer whose first section names the program that wrote
// it and has comments of its own.
func NewWriter(w io.Writer, program string, comments ...string) *Writer {
	return &Writer{w: w, program: program, comments: comments, order: binary.LittleEndian}
}

// begin starts a section of our own.
func (x *Writer) begin() {
	x.order, x.copying, x.ifaces = binary.LittleEndian, false, map[uint32]uint32{}
	body := x.order.AppendUint32(nil, 0x1a2b3c4d)
	body = x.order.AppendUint16(x.order.AppendUint16(body, 1), 0)
	body = x.order.AppendUint64(body, 1<<64-1) // length not given
	x.block(blockSection, x.options(x.introduce(body), nil))
}

// introduce adds what the first section says of the file.
func (x *Writer) introduce(body []byte) []byte {
	if x.begun {
		return body
	}
	x.begun = true
	for _, c := range x.comments {
		body = x.option(body, optComment, []byte(c))
	}
	return x.option(body, optProgram, []byte(x.program))
}

// Copy writes a block without a packet again. A section header makes the
// frames that follow part of a copy, until the next call of Write for a frame
// that no block told of.
func (x *Writer) Copy(b *capture.Block) error {
	switch b.Kind {
	case blockSection:
		x.copySection(b)
	case blockInterface:
		x.copyInterface(b)
	case blockStatistics:
		x.block(b.Kind, x.numbers(b.Body, 12, func(code uint16, n int) bool { return !x.Keep.Nothing || code > optComment && n == 8 }))
	case blockCustomOwn:
	case blockNames:
		if x.Keep.Names && !x.Keep.Nothing {
			x.block(b.Kind, b.Body)
		}
	case blockSecrets:
		if x.Keep.Secrets && !x.Keep.Nothing {
			x.block(b.Kind, b.Body)
		}
	default:
		if !x.Keep.Nothing {
			x.block(b.Kind, b.Body)
		}
	}
	return x.err
}

func (x *Writer) copySection(b *capture.Block) {
	x.order, x.copying = binary.LittleEndian, true
	if b.Swap {
		x.order = binary.BigEndian
	}
	known := x.begun
	body := append([]byte(nil), b.Body[:min(16, len(b.Body))]...)
	for i := 8; i < len(body); i++ {
		body[i] = 0xff // the length is another one
	}
	body = x.introduce(body)
	x.block(blockSection, x.options(body, x.kept(b.Body[min(16, len(b.Body)):], func(code uint16, _ int) bool {
		return !x.Keep.Nothing && (code != optProgram || known)
	})))
}

// Options of an interface that are numbers: tsresol, tzone, fcslen, tsoffset.
func numericInterfaceOption(code uint16) bool { return code == optUnits || code == 10 || code == 14 }

func (x *Writer) copyInterface(b *capture.Block) {
	body := b.Body
	if x.Keep.Nothing && len(body) >= 8 {
		body = append([]byte(nil), body...)
		x.order.PutUint16(body, uint16(LinkOf(uint32(x.order.Uint16(body)))))
	}
	x.block(b.Kind, x.numbers(body, 8, func(code uint16, _ int) bool { return !x.Keep.Nothing || numericInterfaceOption(code) }))
}

// numbers returns a body of fixed octets with those of its options that keep
// wants.
func (x *Writer) numbers(body []byte, fixed int, keep func(code uint16, n int) bool) []byte {
	if len(body) < fixed {
		return body
	}
	return x.options(append([]byte(nil), body[:fixed]...), x.kept(body[fixed:], keep))
}

// kept returns the options of a list that keep wants, without the end mark.
func (x *Writer) kept(list []byte, keep func(code uint16, n int) bool) []byte {
	var out []byte
	for len(list) >= 4 {
		code, n := x.order.Uint16(list), int(x.order.Uint16(list[2:]))
		if code == optEnd || 4+n > len(list) {
			break
		}
		if keep(code, n) {
			out = x.option(out, code, list[4:4+n])
		}
		list = list[min(4+(n+3)&^3, len(list)):]
	}
	return out
}

// options adds a list of options and ends it.
func (x *Writer) options(body, list []byte) []byte {
	return x.option(append(body, list...), optEnd, nil)
}

// Packet is one frame as it is written.
type Packet struct {
	Iface       uint32 // of the source; each becomes an interface of a section of our own
	Link        uint32 // LINKTYPE_ number
	Name        string // of the interface; "" where it has none
	Description string // of the interface
	At          tcp.Instant
	Data        []byte
	Wire        uint32 // length on the link
	Drops       uint64 // frames that were not captured since the one before
	Comments    []string
	Told        capture.PacketBlock // of a frame of the section that is copied
	Changed     bool                // Data is not what was captured: hashes over it are left out
}

var errLink = errors.New("link type beyond 16 bits")

// Write writes one frame, and in a section of our own its interface before its
// first.
func (x *Writer) Write(p *Packet) error {
	var index uint32
	var stamp uint64
	var list []byte
	if p.Told.Known && x.copying {
		index, stamp = p.Told.Index, p.Told.Stamp
		list = x.kept(p.Told.Options, func(code uint16, n int) bool {
			switch {
			case x.Keep.Nothing:
				return code == optName && n == 4 || code == optDrops && n == 8 // flags, drops
			case p.Changed:
				return code != optHash
			}
			return true
		})
	} else {
		var err error
		if index, err = x.own(p); err != nil {
			return err
		}
		stamp = uint64(max(p.At, 0))
	}
	if p.Drops > 0 {
		list = x.option(list, optDrops, x.order.AppendUint64(nil, p.Drops))
	}
	for _, c := range p.Comments {
		list = x.option(list, optComment, []byte(c))
	}
	b := x.order.AppendUint32(x.buf[:0], index)
	b = x.order.AppendUint32(x.order.AppendUint32(b, uint32(stamp>>32)), uint32(stamp))
	b = x.order.AppendUint32(x.order.AppendUint32(b, uint32(len(p.Data))), max(p.Wire, uint32(len(p.Data))))
	b = padded(append(b, p.Data...))
	if len(list) > 0 {
		b = x.options(b, list)
	}
	x.buf = b
	x.block(blockPacket, b)
	return x.err
}

// own returns the index of a frame's interface in a section of our own, which
// it begins where the frame is the first of one.
func (x *Writer) own(p *Packet) (uint32, error) {
	if x.copying || x.ifaces == nil {
		x.begin()
	}
	if index, known := x.ifaces[p.Iface]; known {
		return index, nil
	}
	if p.Link > 0xffff {
		return 0, errLink
	}
	index := uint32(len(x.ifaces))
	x.ifaces[p.Iface] = index
	body := x.order.AppendUint32(x.order.AppendUint16(x.order.AppendUint16(nil, uint16(p.Link)), 0), 0)
	if p.Name != "" {
		body = x.option(body, optName, []byte(p.Name))
	}
	if p.Description != "" {
		body = x.option(body, optDescription, []byte(p.Description))
	}
	x.block(blockInterface, x.options(x.option(body, optUnits, []byte{9}), nil))
	return index, nil
}

// Close ends the file. One without a frame still is a capture.
func (x *Writer) Close() error {
	if !x.begun && x.err == nil {
		x.begin()
	}
	return x.err
}

// block writes one block around its body, a whole number of words.
func (x *Writer) block(kind uint32, body []byte) {
	if x.err != nil {
		return
	}
	size := uint32(len(body) + 12)
	out := x.order.AppendUint32(x.order.AppendUint32(make([]byte, 0, size), kind), size)
	_, x.err = x.w.Write(x.order.AppendUint32(append(out, body...), size))
}

func (x *Writer) option(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), longestComment)]
	b = x.order.AppendUint16(x.order.AppendUint16(b, code), uint16(len(value)))
	return padded(append(b, value...))
}

// padded fills up to a whole word.
func padded(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
