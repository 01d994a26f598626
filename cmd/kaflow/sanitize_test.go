package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/internal/dialogue"
	"kaflow/internal/lab"
	"kaflow/internal/rewrite"
)

// gist returns what a report says of each flow, by its ports, without anything
// that names a host or a file.
func gist(t *testing.T, args ...string) map[string]any {
	t.Helper()
	var stdout, stderr bytes.Buffer
	run(append([]string{"--json", "--all"}, args...), strings.NewReader(""), &stdout, &stderr)
	var report struct {
		Flows []map[string]any `json:"flows"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("kaflow %s: %v, %s", strings.Join(args, " "), err, stderr.String())
	}
	all := map[string]any{}
	for _, f := range report.Flows {
		key := port(t, f["client"]) + " to " + port(t, f["server"])
		for n := 2; all[key] != nil; n++ {
			key = fmt.Sprintf("%s, %d", strings.SplitN(key, ",", 2)[0], n)
		}
		verdict := f["verdict"].(map[string]any)
		all[key] = map[string]any{
			"id": verdict["id"], "confidence": verdict["confidence"], "cause": verdict["cause"], "cause_confidence": verdict["cause_confidence"],
			"counts": f["counts"], "policies": f["policies"], "rows": len(f["timeline"].([]any)), "findings": rules(f["findings"]),
		}
	}
	return all
}

func port(t *testing.T, end any) string {
	text, _ := end.(string)
	return text[strings.LastIndexByte(text, ':')+1:]
}

func rules(findings any) (ids []string) {
	list, _ := findings.([]any)
	for _, f := range list {
		ids = append(ids, f.(map[string]any)["rule"].(string))
	}
	return ids
}

// Replaced addresses and missing payload change nothing of what is said:
// neither where the run is sanitised, nor where a sanitised capture is read.
func TestSanitisedVerdictsAreTheSame(t *testing.T) {
	check := func(t *testing.T, captures ...string) {
		t.Helper()
		want := gist(t, captures...)
		for _, how := range []string{"--sanitize", "--sanitize=keyed"} {
			if diff := cmp.Diff(want, gist(t, append([]string{how}, captures...)...)); diff != "" {
				t.Errorf("%s %s (-as captured +sanitised):\n%s", how, strings.Join(bases(captures), " "), diff)
			}
		}
		to := filepath.Join(t.TempDir(), "out")
		if code := run(append([]string{"annotate", "--quiet", "--sanitize", "-w", to}, captures...), nil, os.Stdout, os.Stderr); code != 0 {
			t.Fatalf("annotate: status %d", code)
		}
		again := []string{to}
		if len(captures) > 1 {
			again = nil
			for _, c := range captures {
				again = append(again, filepath.Join(to, fileName(alias(c, len(again)))+".annotated.pcapng"))
			}
		}
		if diff := cmp.Diff(want, gist(t, again...)); diff != "" {
			t.Errorf("%s (-as captured +sanitised file):\n%s", strings.Join(bases(captures), " "), diff)
		}
	}
	for _, c := range conversations {
		t.Run(c.name, func(t *testing.T) {
			paths := converse(t, c.text)
			check(t, paths...)
			check(t, paths[0])
			check(t, paths[1])
		})
	}
	for _, set := range storedSets(t) {
		t.Run(filepath.Base(set.Dir), func(t *testing.T) {
			check(t, set.Captures[lab.AtClient], set.Captures[lab.AtServer])
		})
	}
}

// Single captures by others, where they are there.
func TestSanitisedVerdictsOfOthersCaptures(t *testing.T) {
	n := 0
	_ = filepath.WalkDir("../../../shared/pcaps", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.Contains(filepath.Base(path), "cap") {
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 100_000 {
			return nil
		}
		var out bytes.Buffer
		if code := run([]string{"--json", path}, nil, &out, new(bytes.Buffer)); code != 0 {
			return nil
		}
		n++
		if diff := cmp.Diff(verdictsOnly(gist(t, path)), verdictsOnly(gist(t, "--sanitize", path))); diff != "" {
			t.Errorf("%s (-as captured +sanitised):\n%s", filepath.Base(path), diff)
		}
		return nil
	})
	t.Logf("%d captures", n)
}

// verdictsOnly drops what payload in the clear adds to a gist: heartbeats that
// only their text names.
func verdictsOnly(gist map[string]any) map[string]any {
	for _, f := range gist {
		for key := range f.(map[string]any) {
			if key != "id" && key != "confidence" && key != "cause" && key != "cause_confidence" {
				delete(f.(map[string]any), key)
			}
		}
	}
	return gist
}

// converse writes the captures of a conversation, client's and server's.
func converse(t *testing.T, text string) (paths []string) {
	t.Helper()
	script, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, point := range []string{dialogue.Client, dialogue.Server} {
		var b bytes.Buffer
		if err := script.WritePcap(&b, point); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, point+".pcap")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// The secrets of the leak test: what may be left nowhere. The MACs stand in
// the place of those that a dialogue gives its ends.
var (
	secretMACs  = []string{"00:1b:21:aa:bb:cc", "00:1b:21:dd:ee:ff"}
	oldMACs     = []string{"\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02"}
	secretWords = []string{"topsecret", "payroll-db", "alice", "TOKEN-4711", "vpn-acme", "hunter2"}
	secretHosts = []netip.Addr{
		netip.MustParseAddr("10.77.66.55"), netip.MustParseAddr("172.19.88.44"), netip.MustParseAddr("172.31.9.254"),
		netip.MustParseAddr("fd12:3456:789a::5"), netip.MustParseAddr("fd12:3456:789a::6"),
	}
)

const leaking = `
C 10.77.66.55:40000
S 172.19.88.44:22
R 172.31.9.254
E [fd12:3456:789a::5]:40002
F [fd12:3456:789a::6]:22
delay C 10ms
delay S 10ms
0     C > * ARP S
1ms   S > C ARP
2ms   C > S UDP len 20
0     C > S SYN     seq 99  mss 1460 sackok ts 1000 0 wscale 7 vlan 7
+11ms S > C SYN,ACK seq 899 ack 100 mss 1460 sackok ts 5000 1000 wscale 7 vlan 7
+11ms C > S ACK     seq 100 ack 900 ts 1022 5000 vlan 7
+1ms  C > S PSH,ACK seq 100 ack 900 ts 1023 5000 data "SSH-2.0-topsecret_alice" vlan 7
+11ms S > C ACK     seq 900 ack 123 ts 5023 1023 vlan 7
+1ms  S > C PSH,ACK seq 900 ack 123 ts 5024 1023 data "hunter2 10.77.66.55 TOKEN-4711" vlan 7
+11ms C > S ACK     seq 123 ack 930 ts 1046 5024 vlan 7
+1s   E > F SYN     seq 10
+11ms F > E SYN,ACK seq 20 ack 11
+11ms E > F ACK     seq 11 ack 21 teid 9
+1ms  E > F PSH,ACK seq 11 ack 21 data "GET /payroll-db?user=alice HTTP/1.1" teid 9
+600s C > S PSH,ACK seq 123 ack 930 ts 601046 5024 len 36 vlan 7
+1ms  R > C ICMP 3/13 quoting 15
+1s   C > S PSH,ACK seq 123 ack 930 ts 602046 5024 len 36 vlan 7
+1ms  R > C ICMP 3/13 quoting 17
`

// Nothing that --sanitize has to take out is in any output, as text, as
// hexadecimal text or as octets.
func TestSanitisedOutputsLeakNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alice", "payroll-db")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	capturePath := filepath.Join(dir, "vpn-acme.10.77.66.55.pcapng")
	plant(t, capturePath)
	mapFile := filepath.Join(t.TempDir(), "map")
	outputs := map[string][]byte{}
	for _, how := range []string{"addresses", "roles", "keyed"} {
		for _, format := range []string{"text", "md", "jira", "html", "json", "ndjson"} {
			var stdout, stderr bytes.Buffer
			args := []string{"--sanitize=" + how, "--map", mapFile + how, "--format", format, "--hash", "--all", "--mermaid", "--host", "10.77.66.55", "vpn-acme=" + capturePath}
			if code := run(args, nil, &stdout, &stderr); code != 0 {
				t.Fatalf("%v: status %d, %s", args, code, stderr.String())
			}
			outputs[format+" "+how] = stdout.Bytes()
			if !strings.Contains(stdout.String(), "40000") {
				t.Errorf("%s %s holds no report of the flow:\n%s", format, how, stdout.String())
			}
		}
		out := filepath.Join(t.TempDir(), "out.pcapng")
		if code := run([]string{"annotate", "--sanitize=" + how, "--keep-names", "--keep-secrets", "-w", out, capturePath}, nil, os.Stdout, os.Stderr); code != 0 {
			t.Fatalf("annotate: status %d", code)
		}
		octets, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		outputs["annotate "+how] = octets
	}
	for _, command := range []string{"flows", "frames"} {
		var stdout bytes.Buffer
		run([]string{command, "--sanitize", capturePath}, nil, &stdout, new(bytes.Buffer))
		outputs[command] = stdout.Bytes()
	}
	original, err := os.ReadFile(capturePath)
	if err != nil {
		t.Fatal(err)
	}
	if found := leaks(original); len(found) < len(secretHosts) {
		t.Fatalf("the capture itself holds but %v: the test tests nothing", found)
	}
	for name, octets := range outputs {
		if found := leaks(octets); len(found) > 0 {
			t.Errorf("%s leaks %v", name, found)
		}
	}
	if info, err := os.Stat(mapFile + "keyed"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the map: %v, %v", info, err)
	}
}

// leaks returns the secrets that are in b in some form.
func leaks(b []byte) (found []string) {
	lower := bytes.ToLower(b)
	look := func(what string, forms ...[]byte) {
		for _, form := range forms {
			if bytes.Contains(lower, bytes.ToLower(form)) {
				found = append(found, what)
				return
			}
		}
	}
	for _, word := range secretWords {
		var wide []byte
		for _, c := range word {
			wide = binary.LittleEndian.AppendUint16(wide, uint16(c))
		}
		look(word, []byte(word), []byte(hex.EncodeToString([]byte(word))), wide)
	}
	for _, a := range secretHosts {
		raw := a.AsSlice()
		turned := slices.Clone(raw)
		slices.Reverse(turned)
		if bytes.Contains(b, raw) || bytes.Contains(b, turned) {
			found = append(found, a.String()+" in octets")
		}
		look(a.String(), []byte(a.String()), []byte(a.StringExpanded()), []byte(hex.EncodeToString(raw)))
	}
	for _, mac := range secretMACs {
		digits := strings.ReplaceAll(mac, ":", "")
		raw, err := hex.DecodeString(digits)
		if err != nil {
			panic(err)
		}
		if bytes.Contains(b, raw) {
			found = append(found, mac+" in octets")
		}
		look(mac, []byte(mac), []byte(digits))
	}
	return found
}

// plant writes a capture with secrets in every place that can hold one: MACs,
// addresses within tunnels, tags, ICMP quotes and ARP, payload, padding, names
// and comments. It is sanitised as a pcapng that has blocks of its own.
func plant(t *testing.T, path string) {
	t.Helper()
	script, err := dialogue.Parse(leaking)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := script.Packets("")
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w := rewrite.NewWriter(&file, "topsecret tool", "comment of alice at 10.77.66.55")
	for _, f := range frames {
		data := f.Data
		for i, mac := range secretMACs {
			raw, _ := hex.DecodeString(strings.ReplaceAll(mac, ":", ""))
			data = bytes.ReplaceAll(data, []byte(oldMACs[i]), raw)
		}
		data = append(slices.Clone(data), "alice's padding"...)
		p := rewrite.Packet{Link: 1, Name: "vpn-acme", Description: "alice's payroll-db", At: f.At, Data: data, Wire: uint32(len(data)), Comments: []string{"hunter2 on 172.19.88.44"}}
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []capture.Block{
		{Kind: 4, Body: append([]byte{1, 0, 10, 0, 10, 77, 66, 55}, "alice\x00\x00\x00\x00\x00\x00\x00"...)},
		{Kind: 10, Body: append([]byte("KSLT\x0c\x00\x00\x00"), "TOKEN-4711\x00\x00"...)},
		{Kind: 0xbad, Body: []byte("\x00\x00\x00\x00hunter2\x00")},
	} {
		w.Keep = rewrite.Keep{Names: true, Secrets: true}
		if err := w.Copy(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
