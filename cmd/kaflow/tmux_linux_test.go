package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kaflow/internal/dialogue"
	"kaflow/internal/golden"
)

// screenText is a capture with a connection of each state: dead, failing, at
// risk, alive, and one that will die before it probes.
const screenText = `
D 192.0.2.1:40001
F 192.0.2.1:40002
R 192.0.2.1:40003
A 192.0.2.1:40004
B 192.0.2.1:40005
0      D > S  SYN      seq 99
+1ms   S > D  SYN,ACK  seq 899  ack 100
+1ms   D > S  ACK      seq 100  ack 900
1s      F > S  SYN      seq 99
+1ms   S > F  SYN,ACK  seq 899  ack 100
+1ms   F > S  ACK      seq 100  ack 900
2s      R > S  SYN      seq 99
+1ms   S > R  SYN,ACK  seq 899  ack 100
+1ms   R > S  ACK      seq 100  ack 900
3s      A > S  SYN      seq 99
+1ms   S > A  SYN,ACK  seq 899  ack 100
+1ms   A > S  ACK      seq 100  ack 900
61s A > S ACK seq 99 ack 900
+1ms S > A ACK seq 900 ack 100
62s D > S ACK seq 99 ack 900 lost
72s D > S ACK seq 99 ack 900 lost
75s B > S SYN seq 99
+1ms S > B SYN,ACK seq 899 ack 100
+1ms B > S ACK seq 100 ack 900
82s D > S ACK seq 99 ack 900 lost
120s F > S ACK seq 99 ack 900
+1ms S > F ACK seq 900 ack 100
121s A > S ACK seq 99 ack 900
+1ms S > A ACK seq 900 ack 100
181s A > S ACK seq 99 ack 900
+1ms S > A ACK seq 900 ack 100
240s F > S ACK seq 99 ack 900 lost
241s A > S ACK seq 99 ack 900
+1ms S > A ACK seq 900 ack 100
301s A > S ACK seq 99 ack 900
+1ms S > A ACK seq 900 ack 100
`

// terminal is a program in a terminal that tmux plays.
type terminal struct {
	t      *testing.T
	tmux   string
	socket string
}

// newTerminal starts kaflow in a terminal of a size.
func newTerminal(t *testing.T, width, height int, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, tmux: tool(t, "tmux", "the screen is not shown in a real terminal"), socket: filepath.Join(t.TempDir(), "tmux")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command(x.tmux, "-S", x.socket, "kill-server").Run() })
	command := fmt.Sprintf("env TZ=UTC LC_ALL=C.UTF-8 TERM=tmux-256color %s=1 %s %s", actAsKaflow, self, strings.Join(args, " "))
	x.do("-u", "-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	x.do("set", "-g", "status", "off")
	x.do("resize-window", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
	return x
}

func (x *terminal) do(args ...string) string {
	x.t.Helper()
	c := exec.Command(x.tmux, append([]string{"-S", x.socket}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v %s", args, err, out)
	}
	return string(out)
}

// shows returns the screen once it holds a text and stands still.
func (x *terminal) shows(text string) string {
	x.t.Helper()
	before := ""
	for asked := time.Now(); time.Since(asked) < hangGuard; time.Sleep(150 * time.Millisecond) {
		now := x.do("capture-pane", "-p")
		if now == before && strings.Contains(now, text) {
			return now
		}
		before = now
	}
	x.t.Fatalf("the screen does not show %q:\n%s", text, before)
	return ""
}

// The screen in a real terminal of three sizes: the table, the help and the
// report on one connection; it goes when it is told to. All times are those of
// packets, so nothing has to be masked.
func TestScreenInARealTerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jump.pcap")
	s, err := dialogue.Parse(screenText)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.WritePcap(&b, "client"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 15}} {
		name := fmt.Sprintf("%dx%d", size[0], size[1])
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t, size[0], size[1], "watch", "-r", path, "--follow", "--path-limit", "350s")
			text := "== table ==\n" + x.shows("dead")
			x.do("send-keys", "Enter")
			text += "== one connection ==\n" + x.shows("After 1m02s")
			x.do("send-keys", "Escape")
			x.shows("dead")
			x.do("send-keys", "?")
			text += "== help ==\n" + x.shows("any key goes back")
			golden.Compare(t, "screens/"+name+".txt", []byte(text))
			x.do("send-keys", "q")
			x.do("send-keys", "q")
			eventually(t, "the screen goes", func() bool {
				return exec.Command(x.tmux, "-S", x.socket, "has-session").Run() != nil
			})
		})
	}
}
