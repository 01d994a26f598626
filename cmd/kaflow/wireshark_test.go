package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Wireshark takes every colour rule that is shipped, and those of a silent drop
// find its frames in an annotated capture.
func TestColourRules(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("no tshark: the colour rules are not tried")
	}
	out := filepath.Join(t.TempDir(), "merged.pcapng")
	set := "../../testdata/pcaps/ssh-silent-drop/"
	if code := run([]string{"annotate", "--merge", "-w", out, set + "client.pcap", set + "server.pcap"}, nil, os.Stdout, os.Stderr); code != 0 {
		t.Fatalf("annotate: status %d", code)
	}
	f, err := os.Open("../../contrib/wireshark/kaflow-colorfilters")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		rule := strings.Split(lines.Text(), "@")
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if len(rule) != 4 || rule[0] != "" || !strings.HasPrefix(rule[3], "[") {
			t.Errorf("no colour rule: %s", lines.Text())
			continue
		}
		c := exec.Command("tshark", "-n", "-r", out, "-Y", rule[2])
		c.Stderr = new(strings.Builder)
		frames, err := c.Output()
		if err != nil {
			t.Errorf("%s: %v, %s", rule[1], err, c.Stderr)
		}
		found[rule[1]] = strings.Count(string(frames), "\n")
	}
	want := map[string]int{"kaflow: verdict": 1, "kaflow: last that crossed": 1, "kaflow: reset": 2, "kaflow: keepalive probe": 18}
	for name, n := range want {
		if found[name] != n {
			t.Errorf("%s: %d frames, want %d", name, found[name], n)
		}
	}
}
