package flows

import (
	"slices"
	"testing"
)

// Of any number of rows those with the lowest prints stay, whatever their order
// and whenever somebody asks.
func TestRowsOfTheLowestPrintsStay(t *testing.T) {
	const ended = 4 * closedLimit
	for name, print := range map[string]func(i int) uint32{
		"mixed":      func(i int) uint32 { return uint32(mix(uint64(i)+1, 0x9e3779b97f4a7c15)) },
		"descending": func(i int) uint32 { return uint32(ended - i) },
		"equal":      func(int) uint32 { return 7 },
		"two values": func(i int) uint32 { return uint32(i / closedLimit % 2) },
	} {
		t.Run(name, func(t *testing.T) {
			var c closedRows
			var all []uint32
			for i := range ended {
				p := print(i)
				all = append(all, p)
				if c.wants(p) {
					c.place(p).Stream = uint32(i)
				} else {
					c.dropped++
				}
				if i == ended/2 {
					c.settle()
				}
			}
			c.settle()
			slices.Sort(all)
			var kept []uint32
			for i := range c.prints {
				p := print(int(c.row(uint32(i)).Stream))
				if p != c.prints[i] {
					t.Fatalf("row %d has the print of another", i)
				}
				kept = append(kept, p)
			}
			slices.Sort(kept)
			if !slices.Equal(kept, all[:closedLimit]) {
				t.Errorf("%d rows, not those of the %d lowest prints", len(kept), closedLimit)
			}
			if got := int(c.dropped) + len(c.prints); got != ended {
				t.Errorf("%d rows are accounted for, of %d", got, ended)
			}
		})
	}
}
