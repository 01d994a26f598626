package dialogue

import (
	"io"

	"kaflow/capture"
	"kaflow/tcp"
)

// Source returns what a capture at the vantage point would give, as batches of
// size packets: 1 as on a slow live link, or any number up to capture.BatchSize.
func (s *Script) Source(point string, size int) (capture.Source, error) {
	frames, err := s.Packets(point)
	if err != nil {
		return nil, err
	}
	return &source{link: uint32(s.link), frames: frames, size: max(1, min(size, capture.BatchSize))}, nil
}

// source hands out decoded frames.
type source struct {
	link   uint32
	frames []Frame
	size   int
	ord    tcp.Ordinal
}

// Read implements capture.Source.
func (s *source) Read(b *capture.Batch) error {
	b.N, b.Sorted, b.Buf, b.Holes = 0, 0, nil, nil
	if len(s.frames) == 0 {
		return io.EOF
	}
	for b.N < s.size && len(s.frames) > 0 {
		f := s.frames[0]
		s.frames = s.frames[1:]
		s.ord++
		p := capture.DecodeFrame(s.link, f.Data, uint32(f.Wire))
		p.At, p.Ord = f.At, s.ord
		p.Data += uint32(len(b.Buf))
		b.Buf = append(b.Buf, f.Data...)
		b.Pkts[b.N] = p
		b.N++
	}
	return nil
}
