package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"kaflow/tcp"
)

// Writer writes a pcap file, little-endian, one Write of the underlying writer
// per packet.
type Writer struct {
	w    io.Writer
	buf  []byte
	tick int64 // nanoseconds per unit
}

// NewWriter writes a file header with a LINKTYPE_ number and a snap length
// (0: 262,144) and returns a writer of packets with times in nanoseconds or,
// else, microseconds.
func NewWriter(w io.Writer, link, snap uint32, nano bool) (*Writer, error) {
	magic, tick := uint32(pcapMicros), int64(1000)
	if nano {
		magic, tick = pcapNanos, 1
	}
	if snap == 0 {
		snap = maxRecord
	}
	le := binary.LittleEndian
	h := le.AppendUint32(make([]byte, 0, 2048), magic)
	h = le.AppendUint16(le.AppendUint16(h, 2), 4)
	h = le.AppendUint64(h, 0)
	h = le.AppendUint32(le.AppendUint32(h, snap), link)
	_, err := w.Write(h)
	return &Writer{w: w, buf: h[:0], tick: tick}, err
}

// Write writes one packet: what was captured of it, and its length on the
// wire. Times before 1970 and after 2106 don't fit the format.
func (w *Writer) Write(at tcp.Instant, data []byte, wire int) error {
	const second = 1_000_000_000
	if at < 0 || int64(at)/second > 1<<32-1 {
		return fmt.Errorf("time %v does not fit a pcap file", at.Time())
	}
	if len(data) > maxRecord {
		return fmt.Errorf("packet of %d octets, more than %d", len(data), maxRecord)
	}
	le := binary.LittleEndian
	b := le.AppendUint32(w.buf[:0], uint32(int64(at)/second))
	b = le.AppendUint32(b, uint32(int64(at)%second/w.tick))
	b = le.AppendUint32(b, uint32(len(data)))
	b = le.AppendUint32(b, uint32(wire))
	w.buf = append(b, data...)
	_, err := w.w.Write(w.buf)
	return err
}
