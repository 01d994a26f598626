package capture

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// input is the file at hand with what is wrapped around it.
type input struct {
	file   *os.File // nil for Options.Stdin
	size   int64    // of a regular file when it was opened, else -1
	raw    *counted
	unpack *unpacker // nil for a plain file
}

// counted counts what is read through it, and hashes it where asked to.
type counted struct {
	io.Reader
	n   int64
	sum hash.Hash // nil: not asked for
	end bool      // there is no more
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	if c.sum != nil {
		c.sum.Write(b[:n]) // a hash never fails
	}
	c.end = c.end || err == io.EOF
	return n, err
}

// digest returns the SHA-256 of the whole input as hexadecimal text. What of a
// regular file was not read is read now; of a stream that did not come to its
// end there is none.
func (c *counted) digest(regular bool) string {
	if c.sum == nil {
		return ""
	}
	if !c.end && regular {
		if _, err := io.Copy(io.Discard, c); err != nil {
			return ""
		}
		c.end = true
	}
	if !c.end {
		return ""
	}
	return hex.EncodeToString(c.sum.Sum(nil))
}

// source opens a path, or takes standard input.
func (s *Set) source(path string) (io.Reader, error) {
	s.in = input{size: -1}
	if path == "-" {
		if s.o.Stdin == nil {
			return nil, errors.New("standard input is not available")
		}
		return s.o.Stdin, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, readError(path, err)
	}
	s.in.file = f
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, readError(path, err)
	case info.IsDir():
		return nil, &fileError{path, errors.New("is a directory")}
	case info.Mode().IsRegular() && s.o.Wait != nil && s.cur == len(s.paths)-1:
		if s.asLeft == nil {
			s.asLeft = map[string]fs.FileInfo{}
		}
		s.following = &growing{file: f, path: path, wait: s.o.Wait, left: s.asLeft}
		return s.following, nil
	case info.Mode().IsRegular():
		s.in.size = info.Size()
	}
	return f, nil
}

// fileError is an error with the path of the file it is about.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("%s: %v", shown(e.path), e.err) }
func (e *fileError) Unwrap() error { return e.err }

// readError says of a file what the system said, with the path once.
func readError(path string, err error) error { return &fileError{path, pathless(err)} }

// pathless returns what the system said of a file, without the path.
func pathless(err error) error {
	var inner *os.PathError
	if errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
