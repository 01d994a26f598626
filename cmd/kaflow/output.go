package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// output is where a report goes: stdout, or a file that appears whole or not
// at all.
type output struct {
	*bufio.Writer
	temp   *os.File // nil for stdout and devices
	device *os.File
	final  string
	force  bool
	mode   os.FileMode
}

// outputBuffer is large enough that the number of writes does not matter.
const outputBuffer = 256 << 10

// output returns what -o asks for. It is never one of the inputs, and never a
// file that exists unless --force is given. Symbolic links are replaced, not
// followed.
func (a *app) output(inputs []string) (*output, error) {
	path := a.flags.out
	if path == "" || path == "-" {
		return &output{Writer: bufio.NewWriterSize(a.stdout, outputBuffer)}, nil
	}
	if isDevice(path) {
		dev, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, outputError{fmt.Errorf("write %s: %w", path, cause(err))}
		}
		return &output{Writer: bufio.NewWriterSize(dev, outputBuffer), device: dev, final: path}, nil
	}
	if err := mayWrite(path, inputs, a.flags.force); err != nil {
		return nil, err
	}
	mode := os.FileMode(0o600) // it holds addresses
	if a.clean != nil {
		mode = 0o644
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".kaflow-*")
	if err != nil {
		return nil, outputError{fmt.Errorf("write %s: %w", path, cause(err))}
	}
	return &output{Writer: bufio.NewWriterSize(temp, outputBuffer), temp: temp, final: path, force: a.flags.force, mode: mode}, nil
}

// publicOutput is output for what holds nothing of a capture.
func (a *app) publicOutput() (*output, error) {
	out, err := a.output(nil)
	if err == nil {
		out.mode = 0o644
	}
	return out, err
}

// isDevice reports whether a path names something to write into and never to
// replace: a device, a pipe, a socket, or a stream that is open already.
func isDevice(path string) bool {
	switch clean := filepath.Clean(path); {
	case clean == "/dev/stdout", clean == "/dev/stderr", strings.HasPrefix(clean, "/dev/fd/"), strings.HasPrefix(clean, "/proc/"):
		return true
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// mayWrite returns an error where path is an input or would be replaced
// without leave.
func mayWrite(path string, inputs []string, force bool) error {
	old, err := os.Stat(path)
	if err == nil {
		for _, input := range inputs {
			if in, err := os.Stat(input); err == nil && os.SameFile(old, in) {
				return usageError{fmt.Sprintf("%s is an input; it will not be written over", path)}
			}
		}
		if old.IsDir() {
			return outputError{fmt.Errorf("write %s: is a directory", path)}
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) && !force {
		return outputError{fmt.Errorf("write %s: the file exists; --force replaces it", path)}
	}
	return nil
}

// cause strips the path that the caller names itself from a file error.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// finish makes the output complete: it flushes, and gives a file its name.
func (o *output) finish() error {
	err := o.Flush()
	if o.device != nil {
		if err = errors.Join(err, o.device.Close()); err != nil {
			return outputError{fmt.Errorf("write %s: %w", o.final, cause(err))}
		}
		return nil
	}
	if o.temp == nil {
		if err != nil {
			return outputError{fmt.Errorf("write to stdout: %w", cause(err))}
		}
		return nil
	}
	if err == nil {
		err = o.temp.Chmod(o.mode)
	}
	if err == nil {
		err = o.temp.Sync()
	}
	err = errors.Join(err, o.temp.Close())
	if err == nil {
		err = o.publish()
	}
	if err != nil {
		os.Remove(o.temp.Name())
		return outputError{fmt.Errorf("write %s: %w", o.final, cause(err))}
	}
	return nil
}

// publish gives the temporary file its name. Without --force it must not
// replace a file that came into being meanwhile.
func (o *output) publish() error {
	if o.force {
		return os.Rename(o.temp.Name(), o.final)
	}
	err := os.Link(o.temp.Name(), o.final)
	switch {
	case err == nil:
		return os.Remove(o.temp.Name())
	case errors.Is(err, fs.ErrExist):
		return err
	}
	return os.Rename(o.temp.Name(), o.final) // a file system without links
}

// discard removes what was written; after finish it does nothing.
func (o *output) discard() {
	if o.device != nil {
		o.device.Close()
	}
	if o.temp == nil {
		return
	}
	o.temp.Close()
	os.Remove(o.temp.Name())
}

var _ io.Writer = (*output)(nil)

// sheet is where short texts are printed. It keeps the first error, for those
// who print, cobra's help among them, do not look at it.
type sheet struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (s *sheet) Write(b []byte) (int, error) {
	n, err := s.to.Write(b)
	if s.err == nil {
		s.err = err
	}
	return n, err
}
