package capture

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// A large file is gone through by stretches, and each of them is mapped or read.
// Mapped is not copied, and the records of bulk data are but a part of what would be
// copied. Yet each page has its price, too: it is low where the system keeps the file
// in large pieces, and above that of a copy where it keeps single pages, as it does
// of what was written 4 KiB at a time (tcpdump writes so). No call tells, and machines
// differ; so both ways are tried, and the cheaper one is taken (see trial).
//
// A stretch is given back before the next one is taken, so that memory stays bounded.
// A file that becomes shorter under a mapping makes the next look at it fault; Read
// and Guard turn that into the end of the file that it is.

const (
	mapStep   = 2 << 20     // mappings begin at multiples of this, which lets the system map them in one piece
	mapWindow = 2 * mapStep // and reach into the next, so that a record at the seam is in one of them
	readBlock = 1 << 20     // octets that are read at a time: copies into a smaller buffer, all of it in a near cache, were slower
	readStep  = 4 << 10     // they begin at multiples of this
)

// largeFile is a file of which window.buf is a stretch.
type largeFile struct {
	file   *os.File
	size   int64            // when it was opened; what was written since is read
	mapped bool             // the stretch at hand is a mapping
	now    func() time.Time // nil: all of it is mapped
	trial  trial
}

// large reports whether a file is gone through by stretches, and takes the first. now
// is a clock, or nil.
func (w *window) large(file *os.File, size int64, now func() time.Time) bool {
	if size < mapStep {
		return false
	}
	*w = window{limit: w.limit, spare: w.own(), file: &largeFile{file: file, size: size, now: now}}
	if !w.remap(1) {
		w.buf, w.spare, w.file = w.spare, nil, nil
		return false
	}
	return true
}

// own returns the buffer that is no mapping.
func (w *window) own() []byte {
	if w.file != nil {
		return w.spare
	}
	return w.buf
}

// isMapped reports whether the stretch at hand is a mapping.
func (w *window) isMapped() bool { return w.file != nil && w.file.mapped }

// stretch takes the next stretch of a large file, which holds n octets from the first
// that was not taken, and reports whether there is one.
func (w *window) stretch(n int) bool {
	if w.offset()+int64(n) > w.file.size {
		return false
	}
	f := w.file
	mapped := f.now == nil || f.trial.mapped(w.offset(), f.now())
	return mapped && w.remap(n) || w.reread(n)
}

// remap maps the stretch of the file that begins at or before what was not taken
// yet, and reports whether it could be.
func (w *window) remap(n int) bool {
	at := w.offset()
	from := at &^ (mapStep - 1)
	to := min(max(from+mapWindow, at+int64(n)), w.file.size)
	buf, err := mapFile(w.file.file, from, int(to-from))
	if err != nil {
		return false
	}
	w.unmap()
	w.turnTo(buf, from)
	w.file.mapped = true
	return true
}

// reread is remap, but reads.
func (w *window) reread(n int) bool {
	at := w.offset()
	from := at &^ (readStep - 1)
	size := max(int(at-from)+n, readBlock)
	if len(w.spare) < size {
		w.spare = make([]byte, size)
	}
	w.unmap()
	buf := w.spare[:min(int64(size), w.file.size-from)]
	got, _ := w.file.file.ReadAt(buf, from) // where it is not all, reading on tells why
	w.turnTo(buf[:got], from)
	return w.left() >= n
}

// turnTo goes on with buf, which lies from an offset of the file on.
func (w *window) turnTo(buf []byte, from int64) {
	w.buf, w.start, w.at, w.end, w.peeked = buf, from, int(w.offset()-from), len(buf), 0
	w.stopAtLimit()
}

func (w *window) unmap() {
	if w.isMapped() && w.buf != nil {
		unmapFile(w.buf)
		w.buf, w.file.mapped = nil, false
	}
}

// plainly goes on by reading from the first octet that was not taken.
func (w *window) plainly() {
	at, file := w.offset(), w.file.file
	w.unmap()
	*w = window{limit: w.limit, in: file, buf: w.spare, start: at}
	if w.buf == nil {
		w.buf = make([]byte, readBuffer)
	}
	_, w.err = file.Seek(at, io.SeekStart)
}

// Guard calls f, which may look at the octets of the last batch. Where these
// are gone because the file became shorter meanwhile, f ends early, the file's
// problems say so, and Guard returns false. Without it such a look ends the
// program.
func (s *Set) Guard(f func()) (whole bool) {
	if !s.maps {
		f()
		return true
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if caught := recover(); caught != nil {
			s.faulted(caught)
		}
	}()
	f()
	return true
}

// faulted goes on by reading where caught is a fault within the window, and
// panics again where it is not.
func (s *Set) faulted(caught any) {
	fault, ok := caught.(interface {
		runtime.Error
		Addr() uintptr
	})
	if !ok || !s.window.isMapped() || !within(s.buf, fault.Addr()) {
		panic(caught)
	}
	for i := range s.ifaces {
		s.ifaces[i].last = 0 // frames that were begun come again
	}
	info, err := s.window.file.file.Stat()
	s.plainly()
	if err == nil && info.Size() >= s.in.size { // a disk or a server failed: the reading says how
		s.shrunk = true
		s.problem(Problem{Offset: s.offset(), What: "could not be read further", Fatal: true})
		return
	}
	s.shorter()
}

// shorter tells that the file at hand became shorter.
func (s *Set) shorter() {
	what := fmt.Sprintf("became shorter than %d octets while it was read", s.in.size)
	if s.start+int64(s.end) >= s.in.size && s.first != nil {
		what = "became shorter between two readings"
	}
	s.shrunk = true
	s.problem(Problem{Offset: s.offset(), What: what, Fatal: true})
}

// short reports whether the file at hand ended before its end, or the end that it had
// when it was read first, and that was not told.
func (s *Set) short() bool {
	return s.err == io.EOF && !s.shrunk && s.in.unpack == nil &&
		(s.start+int64(s.end) < s.in.size || s.first != nil && s.frames < s.first[s.cur].Frames)
}
