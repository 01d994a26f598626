package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A watch of a file that tcpdump writes goes on with the files that follow it in
// the rotation, and misses no packet: by size, by size in a ring of files that
// are overwritten, and by time.
func TestFollowedRotations(t *testing.T) {
	tcpdump := tool(t, "tcpdump", "rotation by the real tcpdump is not tested")
	for _, c := range []struct {
		name  string
		write []string
		first string // pattern of the file to begin with
		files int    // of the rotation that are seen, at least
	}{
		{"by size", []string{"-w", "out.pcap", "-C", "1"}, "out.pcap", 4},
		{"by size, in a ring", []string{"-w", "out.pcap", "-C", "1", "-W", "3"}, "out.pcap0", 5},
		{"by time", []string{"-w", "out-%Y%m%d-%H%M%S.pcap", "-G", "1"}, "out-*.pcap", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t)
			dir := open(t)
			writer := exec.Command(tcpdump, append([]string{"-i", "lo", "-n", "-U", "-Z", "root", "-B", "16384", "tcp"}, c.write...)...)
			writer.Dir = dir
			var said bytes.Buffer
			writer.Stderr = &said
			if err := writer.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = writer.Process.Kill() })
			var first string
			eventually(t, "the first file", func() bool {
				found, _ := filepath.Glob(filepath.Join(dir, c.first))
				if len(found) == 0 {
					return false
				}
				first = found[0]
				info, err := os.Stat(first)
				return err == nil && info.Size() >= 24
			})
			report := filepath.Join(dir, "report.json")
			begun := newFirstWord()
			const metrics = "127.0.0.1:9469"
			watch, _ := start(t, begun, "watch", "-r", first, "--follow", "--plain", "--report", report, "--metrics", metrics)
			talkOverLoopback(t, 50_000, 100*time.Millisecond, func() {})
			begun.wait(t)
			read, written := transferred(t, watch.Process.Pid, "rchar"), transferred(t, writer.Process.Pid, "wchar")
			const octets, ahead = 5_000_000, 500_000
			talkOverLoopback(t, octets, 5*time.Second, func() { // a ring's files are not written over before they are read
				eventually(t, "the watch comes up", func() bool {
					return transferred(t, writer.Process.Pid, "wchar")-written-(transferred(t, watch.Process.Pid, "rchar")-read) < ahead
				})
			})
			eventually(t, "what was sent is written", func() bool { return transferred(t, writer.Process.Pid, "wchar")-written >= octets })
			_ = writer.Process.Signal(syscall.SIGTERM)
			outcome(t, writer)
			m := regexp.MustCompile(`(\d+) packets captured`).FindStringSubmatch(said.String())
			if m == nil {
				t.Fatalf("tcpdump said %q", said.String())
			}
			captured, _ := strconv.Atoi(m[1])
			eventually(t, "all that was written is read", func() bool { return metric(t, metrics, "kaflow_packets_total") >= captured })
			if err := watch.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if got := outcome(t, watch).ExitCode(); got != 143 {
				t.Errorf("exit status %d, want 143", got)
			}
			frames, paths := framesByFile(t, report)
			t.Logf("tcpdump captured %d packets, the watch read %d of %d files: %s", captured, frames, len(paths), strings.Join(paths, " "))
			if frames != captured || len(paths) < c.files {
				t.Errorf("%d frames of %d files, want %d of %d and more", frames, len(paths), captured, c.files)
			}
		})
	}
}

// framesByFile returns how many frames a report counts, and the names of its
// files.
func framesByFile(t *testing.T, report string) (frames int, names []string) {
	t.Helper()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Captures []struct {
			Files []struct {
				Path   string
				Frames int
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Captures) != 1 {
		t.Fatalf("report: %v", err)
	}
	for _, f := range doc.Captures[0].Files {
		frames, names = frames+f.Frames, append(names, filepath.Base(f.Path))
	}
	return frames, names
}

// transferred returns how many octets a process has read (rchar) or written
// (wchar) so far.
func transferred(t *testing.T, pid int, what string) (n int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// talkOverLoopback sends octets over one connection, evenly over a while or
// more slowly: hold is asked before each piece.
func talkOverLoopback(t *testing.T, octets int, while time.Duration, hold func()) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const piece = 10_000
	begun := time.Now()
	for sent := 0; sent < octets; sent += piece {
		hold()
		if _, err := c.Write(make([]byte, piece)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(begun.Add(while * time.Duration(sent) / time.Duration(octets))))
	}
}
