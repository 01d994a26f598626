package capture

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// Large files are not read but mapped, a window at a time: copying every octet
// into a buffer costs more than all that is done with the headers. A window is
// given back before the next one is taken, so that memory stays bounded. A file
// that becomes shorter under a mapping makes the next look at it fault; Read
// and Guard turn that into the end of the file that it is.

const (
	mapStep   = 2 << 20     // windows begin at multiples of this, which lets the system map it in one piece
	mapWindow = 2 * mapStep // and reach into the next, so that a record at the seam is in one window
)

// mapping is a file of which window.buf is a stretch.
type mapping struct {
	file *os.File
	size int64 // when it was opened; what was written since is read
}

// mapped reports whether a window onto file can be mapped, and does it.
func (w *window) mapped(file *os.File, size int64) bool {
	if size < mapStep {
		return false
	}
	*w = window{spare: w.own()}
	w.file = &mapping{file, size}
	if !w.remap(0) {
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

// remap maps the stretch of the file that begins at or before what was not
// taken yet, and reports whether it holds n octets of that.
func (w *window) remap(n int) bool {
	at := w.offset()
	from := at &^ (mapStep - 1)
	to := min(max(from+mapWindow, at+int64(n)), w.file.size)
	if at+int64(n) > to {
		return false
	}
	buf, err := mapFile(w.file.file, from, int(to-from))
	if err != nil {
		return false
	}
	w.unmap()
	w.buf, w.start, w.at, w.end, w.peeked = buf, from, int(at-from), len(buf), 0
	return true
}

func (w *window) unmap() {
	if w.file != nil && w.buf != nil {
		unmapFile(w.buf)
	}
	w.buf = nil
}

// plainly goes on by reading from the first octet that was not taken.
func (w *window) plainly() {
	at, file := w.offset(), w.file.file
	w.unmap()
	*w = window{in: file, buf: w.spare, start: at}
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
	if s.window.file == nil {
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
	if !ok || s.window.file == nil || !within(s.buf, fault.Addr()) {
		panic(caught)
	}
	for i := range s.ifaces {
		s.ifaces[i].last = 0 // frames that were begun come again
	}
	what := fmt.Sprintf("became shorter than %d octets while it was read", s.in.size)
	if info, err := s.window.file.file.Stat(); err == nil && info.Size() >= s.in.size {
		what = "could not be read further" // a disk or a server failed: the reading says how
	}
	s.shrunk = true
	s.plainly()
	s.problem(Problem{Offset: s.offset(), What: what, Fatal: true})
}
