package lab

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// What a path or a careless recorder does to a capture, done to one whose truth
// is known. Each function returns new frames and leaves the given ones alone.

// put writes octets at an even offset of the frame's copy and corrects the
// checksums at the given offsets by the difference (RFC 1624), so that a cut
// frame works too.
func (f *Frame) put(at int, octets []byte, sums ...int) {
	be := binary.BigEndian
	var change uint32
	for i := 0; i < len(octets); i += 2 {
		change += uint32(^be.Uint16(f.Data[at+i:])) + uint32(be.Uint16(octets[i:]))
	}
	copy(f.Data[at:], octets)
	for _, s := range sums {
		sum := uint32(^be.Uint16(f.Data[s:])) + change
		for sum > 0xffff {
			sum = sum&0xffff + sum>>16
		}
		be.PutUint16(f.Data[s:], ^uint16(sum))
	}
}

// altered returns a copy of the frames in which each TCP frame has been through
// change, with octets of its own.
func altered(frames []Frame, change func(*Frame)) []Frame {
	out := slices.Clone(frames)
	for i := range out {
		if f := &out[i]; f.TCP {
			f.Data = slices.Clone(f.Data)
			change(f)
			f.decode()
		}
	}
	return out
}

// Translated shows one address as another, in ARP too, and every port of it as
// the port that is by more.
func Translated(frames []Frame, from, to netip.Addr, by uint16) []Frame {
	return altered(askedAs(frames, from, to), func(f *Frame) {
		ipSum, tcpSum := etherHeader+10, f.tcpAt+16
		for _, end := range []struct {
			is           netip.AddrPort
			addr, portAt int
		}{{f.Src, etherHeader + 12, f.tcpAt}, {f.Dst, etherHeader + 16, f.tcpAt + 2}} {
			if end.is.Addr() == from {
				f.put(end.addr, to.AsSlice(), ipSum, tcpSum)
				f.put(end.portAt, binary.BigEndian.AppendUint16(nil, end.is.Port()+by), tcpSum)
			}
		}
	})
}

// askedAs shows an address as another in ARP frames.
func askedAs(frames []Frame, from, to netip.Addr) []Frame {
	const typeAt, ends = 12, etherHeader + 28
	out := slices.Clone(frames)
	for i := range out {
		f := &out[i]
		if len(f.Data) < ends || binary.BigEndian.Uint16(f.Data[typeAt:]) != 0x0806 {
			continue
		}
		f.Data = slices.Clone(f.Data)
		for _, at := range []int{etherHeader + 14, etherHeader + 24} { // sender's and target's
			if netip.AddrFrom4([4]byte(f.Data[at:])) == from {
				copy(f.Data[at:], to.AsSlice())
			}
		}
	}
	return out
}

// Renumbered shifts the sequence numbers of what an address sends by one
// amount, those of its peers by another. Selective acknowledgments stay as they
// are, as some firewalls leave them.
func Renumbered(frames []Frame, from netip.Addr, own, peers uint32) []Frame {
	return altered(frames, func(f *Frame) {
		seq, ack := own, peers
		if f.Src.Addr() != from {
			seq, ack = peers, own
		}
		be, sum := binary.BigEndian, f.tcpAt+16
		f.put(f.tcpAt+4, be.AppendUint32(nil, f.Seq+seq), sum)
		if f.Flags&FlagACK != 0 {
			f.put(f.tcpAt+8, be.AppendUint32(nil, f.Ack+ack), sum)
		}
	})
}

// Unstamped takes the timestamps option out of every segment, as a firewall may.
func Unstamped(frames []Frame) []Frame {
	const option = 10 // octets
	return altered(frames, func(f *Frame) {
		if !f.HasTS {
			return
		}
		at := f.tsAt - 2
		from, to := at-(at-f.tcpAt)%2, at+option+(at-f.tcpAt)%2
		words := slices.Clone(f.Data[from:to])
		for i := range option {
			words[at-from+i] = 1 // no operation
		}
		f.put(from, words, f.tcpAt+16)
		f.HasTS = false
	})
}

// Clamped lowers the MSS that SYNs name, as a router before a tunnel does.
func Clamped(frames []Frame, most uint16) []Frame {
	return altered(frames, func(f *Frame) {
		at := f.tcpAt + 20 // the first option of every system that matters
		if f.Flags&FlagSYN == 0 || len(f.Data) < at+4 || f.Data[at] != 2 || binary.BigEndian.Uint16(f.Data[at+2:]) <= most {
			return
		}
		f.put(at+2, binary.BigEndian.AppendUint16(nil, most), f.tcpAt+16)
	})
}

// Since leaves what was captured from a moment on.
func Since(frames []Frame, at time.Time) []Frame {
	return slices.DeleteFunc(slices.Clone(frames), func(f Frame) bool { return f.At.Before(at) })
}

// Reclocked shows the times of a clock that is off by an offset, runs fast by
// parts per million, and is set by step at a moment.
func Reclocked(frames []Frame, offset time.Duration, ppm float64, at time.Time, step time.Duration) []Frame {
	out := slices.Clone(frames)
	for i := range out {
		f := &out[i]
		by := offset + time.Duration(ppm*1e-6*float64(f.At.Sub(frames[0].At)))
		if !at.IsZero() && f.At.After(at) {
			by += step
		}
		f.At = f.At.Add(by)
	}
	return out
}

// Thinned loses each frame with a probability.
func Thinned(frames []Frame, seed uint64, probability float64) []Frame {
	rng := rand.New(rand.NewPCG(seed, 1))
	return slices.DeleteFunc(slices.Clone(frames), func(Frame) bool { return rng.Float64() < probability })
}

// Doubled holds each frame twice, the copy after some microseconds, as a mirror
// port that sees both directions of a link does.
func Doubled(frames []Frame) []Frame {
	var out []Frame
	for _, f := range frames {
		out = append(out, f)
		f.At = f.At.Add(7 * time.Microsecond)
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Frame) int { return a.At.Compare(b.At) })
	return out
}

// Tagged puts an 802.1Q tag on every frame.
func Tagged(frames []Frame, vlan uint16) []Frame {
	out := slices.Clone(frames)
	for i := range out {
		f := &out[i]
		if len(f.Data) < etherHeader {
			continue
		}
		d := slices.Clone(f.Data[:12])
		d = binary.BigEndian.AppendUint16(d, 0x8100)
		d = binary.BigEndian.AppendUint16(d, vlan)
		f.Data, f.Orig, f.TCP = append(d, f.Data[12:]...), f.Orig+4, false
	}
	return out
}
