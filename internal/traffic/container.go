package traffic

import (
	"encoding/binary"
	"io"
)

const (
	bufferSize = 256 << 10
	snapLen    = 262_144
	ethernet   = 1       // LINKTYPE_ETHERNET
	largest    = 2 << 10 // no record of ours is longer
)

// A writer collects records of one container format in a buffer.
type writer struct {
	w       io.Writer
	format  Format
	buf     []byte
	frame   []byte // where the octets of the record's frame belong
	written uint64
	err     error
}

func newWriter(w io.Writer, format Format) *writer {
	out := &writer{w: w, format: format, buf: make([]byte, 0, bufferSize)}
	le := binary.LittleEndian
	switch format {
	case PCAPNG:
		out.buf = append(out.buf, sectionHeader...)
		out.buf = append(out.buf, interfaceHeader...)
	default:
		magic := uint32(0xa1b2c3d4)
		if format == PCAPNano {
			magic = 0xa1b23c4d
		}
		out.buf = le.AppendUint32(out.buf, magic)
		out.buf = append(out.buf, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		out.buf = le.AppendUint32(out.buf, snapLen)
		out.buf = le.AppendUint32(out.buf, ethernet)
	}
	return out
}

// Blocks of pcapng (draft-ietf-opsawg-pcapng, sections 4.1 and 4.2).
var (
	sectionHeader = []byte{
		0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 28, 0, 0, 0,
	}
	interfaceHeader = []byte{
		1, 0, 0, 0, 32, 0, 0, 0, ethernet, 0, 0, 0, 0, 0, 4, 0, // snap length 262,144
		9, 0, 1, 0, 9, 0, 0, 0, // if_tsresol: 10^-9 s
		0, 0, 0, 0, 32, 0, 0, 0,
	}
)

// record begins a record of one frame of n octets, captured at a moment in Unix
// nanoseconds, and leaves room for it in out.frame.
func (out *writer) record(at int64, n int) {
	if len(out.buf)+largest > cap(out.buf) {
		out.flush()
	}
	if out.format == PCAPNG {
		out.enhancedPacket(at, n)
		return
	}
	fraction := at % 1e9
	if out.format == PCAP {
		fraction /= 1000
	}
	b := out.extend(16 + n)
	le := binary.LittleEndian
	le.PutUint32(b, uint32(at/1e9))
	le.PutUint32(b[4:], uint32(fraction))
	le.PutUint32(b[8:], uint32(n))
	le.PutUint32(b[12:], uint32(n))
	out.frame = b[16:]
}

// enhancedPacket is record for pcapng (section 4.3).
func (out *writer) enhancedPacket(at int64, n int) {
	padded := (n + 3) &^ 3
	total := 32 + padded
	b := out.extend(total)
	le := binary.LittleEndian
	le.PutUint32(b, 6)
	le.PutUint32(b[4:], uint32(total))
	le.PutUint32(b[8:], 0)
	le.PutUint32(b[12:], uint32(at>>32))
	le.PutUint32(b[16:], uint32(at))
	le.PutUint32(b[20:], uint32(n))
	le.PutUint32(b[24:], uint32(n))
	le.PutUint32(b[28+n&^3:], 0) // padding, before the frame covers the rest
	le.PutUint32(b[total-4:], uint32(total))
	out.frame = b[28 : 28+n]
}

func (out *writer) extend(n int) []byte {
	at := len(out.buf)
	out.buf = out.buf[:at+n]
	return out.buf[at:]
}

// flush writes the buffer out.
func (out *writer) flush() {
	if out.err == nil {
		var n int
		n, out.err = out.w.Write(out.buf)
		out.written += uint64(n)
	}
	out.buf = out.buf[:0]
}
