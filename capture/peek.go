package capture

import "unsafe"

// Where a record begins only the one before it tells, so a walk along records that
// lie far apart waits for memory at each of them. peek goes ahead of the walk and
// looks at nothing but the lengths. Most records are as long as one of the two
// lengths that came last: comparing with these, the processor guesses where the
// next one begins, goes on, and waits for many at a time.

const (
	peekSpan   = 64 << 10 // octets that are gone through in a row
	peekAhead  = 16 << 10 // octets; where so many were looked at already, that is enough
	peekOctets = 82       // of a record that are wanted: its header and those of a plain frame with timestamps
)

// stride is how a container's usual records follow one another.
type stride struct {
	length int // where in a record its length stands, little-endian
	head   int // octets that this does not count
}

// peek brings near what the records from an offset of the window on need, and the
// last octet before each of them. Only what is mapped is far.
func (r *reader) peek(from int, s stride) {
	at := max(r.peeked, from)
	if !r.window.isMapped() || at == 0 || at-from > peekAhead {
		return
	}
	buf, one, other, sum := r.buf[:r.end], max(r.strides[0], minBlock), max(r.strides[1], minBlock), byte(0)
	base := unsafe.Pointer(unsafe.SliceData(buf)) // of which all that is looked at lies within buf: the fewer the steps, the more records are waited for at a time
	for until := min(at+peekSpan, len(buf)-peekOctets); at < until; {
		h := unsafe.Add(base, at)
		sum += *(*byte)(unsafe.Add(h, -1)) + *(*byte)(unsafe.Add(h, 63)) + *(*byte)(unsafe.Add(h, peekOctets-1))
		size := s.head + int(le32((*[4]byte)(unsafe.Add(h, s.length))[:]))
		if size == one {
			at += one // not size, which is not known yet
		} else if size == other {
			at += other
		} else {
			one, other = min(max(size, minBlock), maxRecord), one
			at += one
		}
	}
	r.peeked, r.strides, r.peekSum = at, [2]int{one, other}, sum
}
