package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/internal/dialogue"
)

// section writes a pcapng section in either byte order.
type section struct {
	bytes.Buffer
	order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
}

func (s *section) block(kind uint32, body []byte) {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	size := uint32(len(body) + 12)
	s.Write(s.order.AppendUint32(s.order.AppendUint32(nil, kind), size))
	s.Write(body)
	s.Write(s.order.AppendUint32(nil, size))
}

func (s *section) option(b []byte, code uint16, value string) []byte {
	b = s.order.AppendUint16(s.order.AppendUint16(b, code), uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// furnished is a capture with a block of every kind.
func furnished(t *testing.T, order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}) []byte {
	t.Helper()
	script, err := dialogue.Parse(session + "drop both\n+60s C > S ACK seq 156 ack 900 ts 7242068 46057\n")
	if err != nil {
		t.Fatal(err)
	}
	frames, err := script.Packets(dialogue.Client)
	if err != nil {
		t.Fatal(err)
	}
	s := &section{order: order}
	head := order.AppendUint16(order.AppendUint16(order.AppendUint32(nil, 0x1a2b3c4d), 1), 0)
	s.block(0x0a0d0d0a, s.option(s.option(order.AppendUint64(head, 1<<64-1), 1, "a section"), 3, "the os"))
	link := order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, 1), 0), 65535)
	s.block(1, s.option(s.option(s.option(link, 2, "eth7"), 9, "\x06"), 13, "\x04"))
	s.block(4, []byte("names"))
	s.block(10, []byte("secrets"))
	for i, f := range frames {
		stamp := uint64(f.At / 1000)
		data := append(append([]byte(nil), f.Data...), "FCS!"...)
		b := order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, 0), uint32(stamp>>32)), uint32(stamp))
		b = append(order.AppendUint32(order.AppendUint32(b, uint32(len(data))), uint32(len(data))), data...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		b = s.option(b, 1, "a comment")
		s.block(6, s.option(b, 2, string(order.AppendUint32(nil, uint32(i)))))
	}
	s.block(0xbad, []byte("custom"))
	s.block(0x40000bad, []byte("not to be copied"))
	drops := s.option(order.AppendUint32(order.AppendUint32(order.AppendUint32(nil, 0), 0), 0), 5, string(order.AppendUint64(nil, 3)))
	s.block(5, drops)
	return s.Bytes()
}

// shape lists what a capture holds: blocks as they are, and of frames time,
// octets and options.
func shape(t *testing.T, path string) (list []string) {
	t.Helper()
	set, err := capture.Open(capture.Options{
		Block: func(b capture.Block) { list = append(list, string(rune('0'+b.Kind%64))+" "+string(b.Body)) },
		Each: func(p *capture.Packet, f capture.Frame) {
			list = append(list, fmt.Sprint(int64(p.At))+" "+string(f.Data[:len(f.Data)+int(f.Told.FCS)])+" "+string(f.Told.Options))
		},
	}, path, path)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	var b capture.Batch
	for set.Read(&b) != io.EOF {
	}
	return list
}

// Blocks and frames of a pcapng file are written again as they were, in its
// own byte order; comments are added and none is lost.
func TestAnnotateKeepsWhatTheFileHolds(t *testing.T) {
	for _, order := range []interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}{binary.LittleEndian, binary.BigEndian} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.pcapng"), filepath.Join(dir, "out.pcapng")
		if err := os.WriteFile(in, furnished(t, order), 0o600); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		if code := run([]string{"annotate", "-w", out, "--keep-names", "--keep-secrets", in}, nil, io.Discard, &stderr); code != 0 {
			t.Fatalf("status %d: %s", code, stderr.String())
		}
		was, is := shape(t, in), shape(t, out)
		if len(is) != len(was)-1 { // one block says that it must not be copied
			t.Fatalf("%d blocks and frames of %d", len(is), len(was))
		}
		for i, j := 0, 0; i < len(was); i++ {
			if strings.Contains(was[i], "not to be copied") {
				continue
			}
			body := strings.TrimSuffix(was[i], "\x00\x00\x00\x00") // the end of options
			if i == 0 {
				body = "0 a section" // the header says who wrote the file, too
				is[0] = strings.Replace(is[0], is[0][:strings.Index(is[0], "a section")], "0 ", 1)
			}
			if !strings.HasPrefix(is[j], body) {
				t.Errorf("%d: was %q\nis  %q", i, was[i], is[j])
			}
			j++
		}
		if all := strings.Join(is, ""); strings.Count(all, "kaflow: keepalive-probe") != 1 || strings.Count(all, "a comment") != strings.Count(strings.Join(was, ""), "a comment") {
			t.Error("comments were lost, or none was added")
		}
		// Unasked, names and secrets stay behind; a sanitised file has numbers only.
		for _, flag := range []string{"--quiet", "--sanitize"} {
			if code := run([]string{"annotate", "--force", "-w", out, flag, in}, nil, io.Discard, &stderr); code != 0 {
				t.Fatalf("status %d: %s", code, stderr.String())
			}
			octets, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"names", "secrets", "a comment", "eth7", "custom", "a section"} {
				want := flag == "--quiet" && word != "names" && word != "secrets"
				if bytes.Contains(octets, []byte(word)) != want {
					t.Errorf("%s: %q is there: %v", flag, word, !want)
				}
			}
			set, err := capture.Open(capture.Options{}, out, out)
			if err != nil {
				t.Fatal(err)
			}
			var b capture.Batch
			for set.Read(&b) != io.EOF {
			}
			if f := set.Files()[0]; f.Drops != 3 || !f.Complete {
				t.Errorf("%s: drops %d, complete %v: %v", flag, f.Drops, f.Complete, f.Problems)
			}
			set.Close()
		}
	}
}

// Captures by others keep every frame: time, octets, lengths.
func TestAnnotateKeepsFrames(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.pcapng")
	frames := func(path string) (list []string) {
		set, err := capture.Open(capture.Options{Each: func(p *capture.Packet, f capture.Frame) {
			list = append(list, fmt.Sprint(int64(p.At))+" "+string(f.Data))
		}}, path, path)
		if err != nil {
			return nil
		}
		defer set.Close()
		var b capture.Batch
		for set.Read(&b) != io.EOF {
		}
		return list
	}
	n := 0
	for _, root := range []string{"../../testdata/pcaps", "../../../shared/pcaps"} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || !strings.Contains(filepath.Base(path), "cap") {
				return nil
			}
			if info, err := d.Info(); err != nil || info.Size() > 300_000 {
				return nil
			}
			if code := run([]string{"annotate", "--quiet", "--force", "-w", out, path}, nil, io.Discard, io.Discard); code != 0 && code != statusDamaged && code != statusLimit {
				t.Errorf("%s: status %d", path, code)
				return nil
			}
			if want := frames(path); len(want) > 0 {
				n++
				if diff := cmp.Diff(want, frames(out)); diff != "" {
					t.Errorf("%s (-was +is):\n%s", path, diff[:min(len(diff), 500)])
				}
			}
			return nil
		})
	}
	t.Logf("%d captures", n)
}
