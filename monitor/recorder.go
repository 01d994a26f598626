package monitor

import (
	"cmp"
	"container/list"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/tcp"
)

// Recorder keeps the headers of the first and of the recent segments of each
// connection, so that there is proof when it dies. Its memory is bounded: the
// connections that were quiet for longest go first, those of few segments, such
// as a scan leaves, before the others. It serves one goroutine at a time.
type Recorder struct {
	limit int
	size  int
	rings map[capture.Key]*list.Element
	ages  [2]*list.List // of *ring, longest untouched first: of few segments, of more
	sizes [2]int
	fresh [256]freshFrame // the newest, for their labels
}

// Kept is one frame as it is remembered: up to the end of its TCP header, an
// ICMP error with what it quotes.
type Kept struct {
	Ord   tcp.Ordinal
	At    tcp.Instant
	Iface uint32
	Link  uint32
	Wire  uint32 // length on the link
	Kind  flows.Kind
	Label bool // Kind is known
	Data  []byte
}

// ring is what is kept of one connection.
type ring struct {
	key  capture.Key
	kept []Kept // in order up to MostKept; then the next to be replaced is at next
	next int
	size int
	many int // 1: more than a few segments
}

type freshFrame struct {
	ord tcp.Ordinal
	of  *ring
}

// What is kept of one connection: its first segments, which tell the scale of
// windows and who began, and the newest ones.
const (
	FirstKept = 6
	MostKept  = 64
	fewKept   = 4   // up to so many segments it counts as one that a scan may have left
	mostOctet = 256 // of one frame
	overhead  = 96  // of each frame and of each connection, about
)

// NewRecorder returns a recorder that takes about so many octets.
func NewRecorder(octets int) *Recorder {
	return &Recorder{limit: octets, rings: map[capture.Key]*list.Element{}, ages: [2]*list.List{list.New(), list.New()}}
}

// Keep takes a frame as it is read. Frames that are no TCP, nor quote any, are
// left out.
func (r *Recorder) Keep(p *capture.Packet, f capture.Frame) {
	if p.Proto != capture.TCP && p.Proto != capture.ICMPError {
		return
	}
	octets := headers(p, f)
	e := r.rings[p.Key]
	if e == nil {
		e = r.ages[0].PushBack(&ring{key: p.Key, next: FirstKept})
		r.rings[p.Key] = e
		r.grow(e.Value.(*ring), overhead)
	}
	x := e.Value.(*ring)
	k, isNew := x.slot()
	r.grow(x, octets-len(k.Data))
	if isNew {
		r.grow(x, overhead)
	}
	*k = Kept{Ord: p.Ord, At: p.At, Iface: p.Iface, Link: f.Link, Wire: f.Wire, Data: append(k.Data[:0], f.Data[:octets]...)}
	r.fresh[p.Ord%tcp.Ordinal(len(r.fresh))] = freshFrame{p.Ord, x}
	r.touch(x, e)
	r.shrink()
}

// headers returns how many octets of a frame are remembered: up to the end of
// its last header, of an ICMP error up to that of the header that it quotes. No
// payload is.
func headers(p *capture.Packet, f capture.Frame) int {
	octets := min(len(f.Data), mostOctet)
	if p.Proto == capture.TCP {
		if p.HeaderLen > 0 && p.Data >= f.Base {
			octets = min(octets, int(p.Data-f.Base))
		}
		return octets
	}
	_, list := capture.Headers(nil, f.Link, f.Data, f.Wire)
	end := 0
	for _, h := range list {
		end = max(end, h.At+h.Size)
	}
	return min(octets, end)
}

// slot returns the place for the next frame, and whether it is a new one.
func (x *ring) slot() (k *Kept, isNew bool) {
	if len(x.kept) < MostKept {
		x.kept = append(x.kept, Kept{})
		return &x.kept[len(x.kept)-1], true
	}
	k = &x.kept[x.next]
	if x.next++; x.next == MostKept {
		x.next = FirstKept
	}
	return k, false
}

// grow counts octets of a connection.
func (r *Recorder) grow(x *ring, octets int) {
	x.size += octets
	r.sizes[x.many] += octets
	r.size += octets
}

// touch makes a connection the youngest of its kind.
func (r *Recorder) touch(x *ring, e *list.Element) {
	if x.many == 1 || len(x.kept) <= fewKept {
		r.ages[x.many].MoveToBack(e)
		return
	}
	r.ages[0].Remove(e)
	r.sizes[0] -= x.size
	x.many = 1
	r.sizes[1] += x.size
	r.rings[x.key] = r.ages[1].PushBack(x)
}

// shrink forgets connections until the limit holds. Those of few segments may
// take an eighth before others have to go for them.
func (r *Recorder) shrink() {
	for r.size > r.limit {
		from := r.ages[1]
		if from.Len() == 0 || r.sizes[0] > r.limit/8 {
			from = r.ages[0]
		}
		e := from.Front()
		if e == nil {
			return
		}
		x := from.Remove(e).(*ring)
		delete(r.rings, x.key)
		r.sizes[x.many] -= x.size
		r.size -= x.size
	}
}

// Label takes what a frame was for, soon after it was kept.
func (r *Recorder) Label(l flows.Label) {
	f := &r.fresh[l.Ord%tcp.Ordinal(len(r.fresh))]
	if f.ord != l.Ord || f.of == nil {
		return
	}
	for i := range f.of.kept {
		if k := &f.of.kept[i]; k.Ord == l.Ord {
			k.Kind, k.Label = l.Kind, true
		}
	}
}

// Of returns what is kept of a connection, in the order of capture. The data is
// valid until the next Keep.
func (r *Recorder) Of(key capture.Key) []Kept {
	e := r.rings[key]
	if e == nil {
		return nil
	}
	out := slices.Clone(e.Value.(*ring).kept)
	slices.SortFunc(out, func(a, b Kept) int { return cmp.Compare(a.Ord, b.Ord) })
	return out
}

// Size returns about how many octets are in use.
func (r *Recorder) Size() int { return r.size }
