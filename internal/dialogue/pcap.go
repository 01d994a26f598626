package dialogue

import (
	"encoding/binary"
	"io"
)

// WritePcap writes what a capture at the vantage point would hold, as a pcap
// file with microseconds, or with nanoseconds where a time needs them.
func (s *Script) WritePcap(w io.Writer, point string) error {
	frames, err := s.Packets(point)
	if err != nil {
		return err
	}
	magic, unit := uint32(0xa1b2c3d4), int64(1000)
	for _, f := range frames {
		if f.At%1000 != 0 {
			magic, unit = 0xa1b23c4d, 1
		}
	}
	le := binary.LittleEndian
	h := le.AppendUint32(nil, magic)
	h = le.AppendUint16(le.AppendUint16(h, 2), 4)
	h = append(h, make([]byte, 8)...)
	h = le.AppendUint32(h, uint32(s.snaplen))
	h = le.AppendUint32(h, uint32(s.link))
	for _, f := range frames {
		h = le.AppendUint32(h, uint32(int64(f.At)/1e9))
		h = le.AppendUint32(h, uint32(int64(f.At)%1e9/unit))
		h = le.AppendUint32(h, uint32(len(f.Data)))
		h = le.AppendUint32(h, uint32(f.Wire))
		h = append(h, f.Data...)
	}
	_, err = w.Write(h)
	return err
}
