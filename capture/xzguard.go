package capture

import (
	"errors"
	"io"
)

// errXZWindow says that an xz file asks for a larger window than we give.
var errXZWindow = errors.New("window too large")

// xzGuard passes an xz file through and stops it at a block whose dictionary
// is larger than maxWindow, before the decoder allocates it. It follows the
// file format (xz-file-format 1.2.1) as far as that takes: stream headers,
// block headers and the chunks of LZMA2. What it can't follow it passes on:
// the decoder refuses it.
type xzGuard struct {
	in     io.Reader
	state  xzState
	header [1024]byte // block header being collected
	have   int
	skip   int   // octets to pass without looking
	check  int   // octets of check behind each block
	packed int   // octets of the block or index so far, for its padding
	fields int64 // of the index, still to come
}

type xzState uint8

const (
	xzStream xzState = iota // 12 octets of stream header, or padding
	xzBlock                 // a block header or the index
	xzChunk                 // an LZMA2 chunk
	xzCount                 // the index: how many records
	xzIndex                 // the index: its records
	xzLost                  // not followed any more
)

// Read implements io.Reader.
func (g *xzGuard) Read(b []byte) (int, error) {
	n, err := g.in.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if g.skip > 0 {
			k := min(g.skip, len(rest))
			g.skip -= k
			rest = rest[k:]
			continue
		}
		if g.state == xzLost {
			break
		}
		g.header[g.have] = rest[0]
		g.have++
		rest = rest[1:]
		if !g.step() {
			return 0, errXZWindow
		}
	}
	return n, err
}

// step looks at what was collected and reports whether the file may go on.
func (g *xzGuard) step() bool {
	switch h := g.header[:g.have]; g.state {
	case xzStream:
		if len(h) == 4 && be32(h) == 0 { // padding between streams
			g.have = 0
		} else if len(h) == 12 {
			g.check = [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[h[7]&15]
			g.to(xzBlock, 0)
		}
	case xzBlock:
		if h[0] == 0 {
			g.packed = 1
			g.to(xzCount, 0)
			break
		}
		if size := (int(h[0]) + 1) * 4; len(h) == size {
			if window := xzDictionary(h); window > maxWindow {
				return false
			}
			g.packed = 0
			g.to(xzChunk, 0)
		}
	case xzChunk:
		g.chunk(h)
	case xzCount, xzIndex:
		g.index(h)
	}
	return true
}

// index follows the index up to the end of its stream.
func (g *xzGuard) index(h []byte) {
	if h[len(h)-1] >= 0x80 {
		if len(h) > 9 {
			g.state = xzLost
		}
		return
	}
	const checksumAndFooter = 4 + 12
	n, _ := xzNumber(h, 0)
	g.packed += len(h)
	if g.fields--; g.state == xzCount {
		g.fields = 2 * n
	}
	if g.fields > 0 {
		g.to(xzIndex, 0)
		return
	}
	g.to(xzStream, -g.packed&3+checksumAndFooter)
}

// to goes on to a state behind octets that don't matter.
func (g *xzGuard) to(state xzState, skip int) { g.state, g.have, g.skip = state, 0, skip }

// chunk follows an LZMA2 chunk header (lzma2_decoder.c of xz).
func (g *xzGuard) chunk(h []byte) {
	size := 0
	switch control := h[0]; {
	case control == 0: // the end of the block: padding, then the check
		g.packed++
		g.to(xzBlock, -g.packed&3+g.check)
		return
	case control == 1 || control == 2:
		if len(h) < 3 {
			return
		}
		size = int(be16(h[1:])) + 1
	case control >= 0x80:
		need := 5
		if control >= 0xc0 {
			need = 6
		}
		if len(h) < need {
			return
		}
		size = int(be16(h[3:])) + 1
	default:
		g.state = xzLost
		return
	}
	g.packed += len(h) + size
	g.to(xzChunk, size)
}

// xzDictionary returns the dictionary size that a block header asks for, 0
// where it has no LZMA2 filter.
func xzDictionary(h []byte) int64 {
	at := 2
	for _, bit := range [...]byte{0x40, 0x80} { // compressed and uncompressed size
		if h[1]&bit != 0 {
			_, at = xzNumber(h, at)
		}
	}
	for range h[1]&3 + 1 {
		id, size := int64(0), int64(0)
		id, at = xzNumber(h, at)
		size, at = xzNumber(h, at)
		if at < 0 || size < 0 || size > int64(len(h)-at) {
			return 0
		}
		if id == 0x21 && size == 1 {
			bits := h[at] & 0x3f
			if bits == 40 {
				return 1<<32 - 1
			}
			return int64(2|bits&1) << (bits/2 + 11)
		}
		at += int(size)
	}
	return 0
}

// xzNumber reads a multibyte integer and returns where it ends, -1 where it
// does not.
func xzNumber(h []byte, at int) (n int64, end int) {
	if at < 0 {
		return 0, -1
	}
	for i := 0; i < 9 && at+i < len(h); i++ {
		n |= int64(h[at+i]&0x7f) << (7 * i)
		if h[at+i] < 0x80 {
			return n, at + i + 1
		}
	}
	return 0, -1
}
