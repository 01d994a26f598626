package flows

import (
	"math/bits"
	"math/rand/v2"

	"kaflow/capture"
)

// index finds a flow's slot by its key: open addressing over 8-octet entries,
// each the upper half of the key's hash beside slot+1. The hash half is enough
// to grow without looking at a key, and tells nearly all strangers apart
// before their record is touched. The seed is drawn per process, so that no
// traffic can be made to collide; it never shows in an output.
type index struct {
	entries []uint64
	n       int
	seed    uint64
}

// roomy is the number of entries up to which an index is at most a quarter full:
// a search that goes on to the next entry costs a branch that no processor
// foresees, and a small index costs little memory.
const roomy = 1 << 16

// maxProbe bounds the length of a search; a longer one makes the index grow.
const maxProbe = 64

func (x *index) hash(k *capture.Key) uint32 {
	if k.Is4() && k.Overlay == 0 {
		return hash4(x.seed, k.Lo[3], k.Hi[3], k.Ports)
	}
	h := mix((uint64(k.Lo[3])<<32|uint64(k.Hi[3]))^x.seed, (uint64(k.Ports)<<32|uint64(k.Overlay))^0x9e3779b97f4a7c15)
	if !k.Is4() {
		h = mix(h^uint64(k.Lo[0])<<32^uint64(k.Lo[1]), uint64(k.Lo[2])<<32|uint64(k.Hi[2])^0xd1b54a32d192ed03)
		h = mix(h^uint64(k.Hi[0])<<32^uint64(k.Hi[1]), x.seed^0x94d049bb133111eb)
	}
	return uint32(h >> 32)
}

// hash4 is hash for an IPv4 key outside overlays.
func hash4(seed uint64, lo, hi, ports uint32) uint32 {
	return uint32(mix((uint64(lo)<<32|uint64(hi))^seed, uint64(ports)<<32^0x9e3779b97f4a7c15) >> 32)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// find returns the slot whose key is the wanted one, which same decides.
func (x *index) find(hash uint32, same func(slot uint32) bool) (uint32, bool) {
	mask := uint32(len(x.entries) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		e := x.entries[i]
		if e == 0 {
			return 0, false
		}
		if uint32(e>>32) == hash && same(uint32(e)-1) {
			return uint32(e) - 1, true
		}
	}
}

// look returns the first slot, plus 1, of a hash; 0 where there is none.
func (x *index) look(hash uint32) uint32 {
	mask := uint32(len(x.entries) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		if e := x.entries[i]; e == 0 || uint32(e>>32) == hash {
			return uint32(e)
		}
	}
}

// put adds a slot under a hash that find did not find it by.
func (x *index) put(hash, slot uint32) {
	if x.n*10 >= len(x.entries)*7 || x.n*4 >= len(x.entries) && len(x.entries) < roomy {
		x.grow()
	}
	for !x.place(hash, slot) {
		x.grow()
	}
	x.n++
}

func (x *index) place(hash, slot uint32) bool {
	mask := uint32(len(x.entries) - 1)
	for i, n := hash&mask, 0; n < maxProbe; i, n = (i+1)&mask, n+1 {
		if x.entries[i] == 0 {
			x.entries[i] = uint64(hash)<<32 | uint64(slot+1)
			return true
		}
	}
	return false
}

func (x *index) grow() {
	old := x.entries
	x.entries = make([]uint64, 2*len(old))
	if len(x.entries) >= 1<<16 {
		populate(x.entries)
	}
	for _, e := range old {
		if e != 0 && !x.place(uint32(e>>32), uint32(e)-1) {
			x.rebuild(old, 4*len(old)) // so crowded that twice the room does not help
			return
		}
	}
}

// rebuild places all entries anew with room for size, without a bound on the
// search: hashes that collide in all 32 bits are possible, if unlikely.
func (x *index) rebuild(old []uint64, size int) {
	x.entries = make([]uint64, size)
	mask := uint32(size - 1)
	for _, e := range old {
		if e == 0 {
			continue
		}
		i := uint32(e>>32) & mask
		for x.entries[i] != 0 {
			i = (i + 1) & mask
		}
		x.entries[i] = e
	}
}

// replace makes the entry of one slot point at another of the same key, and
// reports whether there was one.
func (x *index) replace(hash, old, slot uint32) bool {
	mask := uint32(len(x.entries) - 1)
	for i := hash & mask; x.entries[i] != 0; i = (i + 1) & mask {
		if x.entries[i] == uint64(hash)<<32|uint64(old+1) {
			x.entries[i] = uint64(hash)<<32 | uint64(slot+1)
			return true
		}
	}
	return false
}

// remove takes a slot out, and reports whether it was in. It closes the hole, so
// that searches stay short without tombstones.
func (x *index) remove(hash, slot uint32) bool {
	mask := uint32(len(x.entries) - 1)
	i := hash & mask
	for x.entries[i] != uint64(hash)<<32|uint64(slot+1) {
		if x.entries[i] == 0 {
			return false
		}
		i = (i + 1) & mask
	}
	x.n--
	for j := i; ; {
		j = (j + 1) & mask
		e := x.entries[j]
		if e == 0 {
			break
		}
		home := uint32(e>>32) & mask
		if (j-home)&mask >= (j-i)&mask { // its search starts at or before the hole
			x.entries[i] = e
			i = j
		}
	}
	x.entries[i] = 0
	return true
}

// init makes an empty index.
func (x *index) init() {
	x.entries = make([]uint64, 1024)
	x.seed = newSeed()
}

func newSeed() uint64 { return rand.Uint64() | 1 }
