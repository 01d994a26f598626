package flows

import (
	"fmt"
	"testing"
)

// BenchmarkIndex measures a search for a flow that the index holds, and a flow
// that leaves it with one that comes.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []uint32{1000, 100_000, 1_000_000} {
		var x index
		x.init()
		hashes := make([]uint32, n)
		for i := range n {
			hashes[i] = hash4(x.seed, 198<<24|i, 203<<24|i%7, 22)
			x.put(hashes[i], i)
		}
		const stride = 7919 // from one flow to the next, a prime: in no order of memory
		at := uint32(0)
		b.Run(fmt.Sprintf("look-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if at = (at + stride) % n; x.look(hashes[at]) == 0 {
					b.Fatal("a flow is gone")
				}
			}
		})
		b.Run(fmt.Sprintf("leave-and-come-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if at = (at + stride) % n; !x.remove(hashes[at], at) {
					b.Fatal("a flow is gone")
				}
				x.put(hashes[at], at)
			}
		})
	}
}
