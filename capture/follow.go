package capture

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// growing reads a file that is being written: at its end it waits for more,
// until the next file of its rotation is there.
type growing struct {
	file *os.File
	path string
	wait func() bool
	idle int
	next string                 // file that goes on; "" not there yet
	left map[string]fs.FileInfo // files of the rotation that were read to their ends, as they were then
}

// lookAround is at every how many waits the folder is looked at for the next
// file.
const lookAround = 3

// Read implements io.Reader.
func (g *growing) Read(b []byte) (int, error) {
	for {
		n, err := g.file.Read(b)
		if n > 0 || err != io.EOF || g.next != "" {
			g.idle = 0
			return n, err
		}
		if g.idle++; g.idle%lookAround == 1 {
			if g.next = nextOf(g.path, g.left); g.next != "" {
				continue // what was written before the next file was begun is there now
			}
		}
		if !g.wait() {
			return 0, io.EOF
		}
	}
}

// follow goes on with the file that the rotation has begun.
func (s *Set) follow() bool {
	if s.following == nil || s.following.next == "" {
		return false
	}
	if info, err := s.following.file.Stat(); err == nil {
		s.asLeft[s.following.path] = info
	}
	s.paths = append(s.paths, s.following.next)
	s.step, s.following = namingOf(s.paths), nil
	return true
}

// nextOf returns the file that goes on where a file of a rotation ended, by its
// name and its age: "" where there is none (yet). left tells how the files were
// that were read already.
func nextOf(path string, left map[string]fs.FileInfo) string {
	this := parseName(path)
	ended, err := os.Stat(path)
	if err != nil { // gone: renamed, packed or removed
		ended = nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return ""
	}
	var best, first string
	var bestName, firstName fileName
	var lowest fs.DirEntry
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(path), e.Name())
		if filepath.Dir(path) == "." && filepath.Base(path) == path {
			other = e.Name()
		}
		name := parseName(other)
		if !name.sibling(this) || !this.plainly() && !name.plainly() {
			continue
		}
		if this.before(name) && (best == "" || name.before(bestName)) && (name.scheme == stamped || name.scheme == ring || younger(e, ended)) {
			best, bestName = other, name
		}
		if this.family().scheme == numbered && name.before(this) && (first == "" || name.before(firstName)) {
			first, firstName, lowest = other, name, e
		}
	}
	if best == "" && first != "" && overwritten(lowest, left[first], ended) { // a ring of files that begins anew
		return first
	}
	return best
}

// overwritten reports whether the first file of a ring was begun anew: it is not
// as it was left or, where it was not read, it was written after the one that
// ended. At the same moment the file before may have been written last.
func overwritten(e fs.DirEntry, left, ended fs.FileInfo) bool {
	info, err := e.Info()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return false
	case left != nil:
		return info.Size() < left.Size() || info.ModTime().After(left.ModTime()) || !os.SameFile(info, left)
	}
	return ended == nil || info.ModTime().After(ended.ModTime())
}

// before reports whether a file of a rotation is older than another one by
// their names.
func (n fileName) before(m fileName) bool {
	if n.stamp != m.stamp {
		return n.stamp < m.stamp
	}
	return n.num < m.num
}

// younger reports whether a file was written since another one was last.
func younger(e fs.DirEntry, than fs.FileInfo) bool {
	info, err := e.Info()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	return than == nil || info.ModTime().Sub(than.ModTime()) > -time.Millisecond
}
