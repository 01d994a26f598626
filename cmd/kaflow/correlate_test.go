//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kaflow/internal/dialogue"
	"kaflow/monitor/correlate"
)

// streamOf returns what kaflow watch writes of a capture.
func streamOf(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, stderr bytes.Buffer
	if status := run(append([]string{"watch", "--format", "ndjson"}, args...), nil, &out, &stderr); status != statusDone {
		t.Fatalf("exit status %d: %s", status, stderr.String())
	}
	return out.Bytes()
}

// together is a line of kaflow correlate.
type together struct {
	Event, Client, Server, Says string
	Vantages                    []string
	Verdict                     *struct{ ID, Confidence, Cause string }
}

// correlated runs kaflow correlate and returns its lines.
func correlated(t *testing.T, args ...string) (out []together) {
	t.Helper()
	var text, stderr bytes.Buffer
	if status := run(append([]string{"correlate", "--json"}, args...), nil, &text, &stderr); status != statusDone {
		t.Fatalf("exit status %d: %s", status, stderr.String())
	}
	for l := range strings.Lines(text.String()) {
		var x together
		if err := json.Unmarshal([]byte(l), &x); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// Two event streams get the verdicts that the two captures get.
func TestStreamsAreJudgedAsCapturesAre(t *testing.T) {
	dirs, err := filepath.Glob("../../testdata/pcaps/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	compared := 0
	for _, dir := range dirs {
		clients, _ := filepath.Glob(dir + "/client.pcap*")
		servers, _ := filepath.Glob(dir + "/server.pcap*")
		if len(clients) != 1 || len(servers) != 1 {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			temp := t.TempDir()
			var streams []string
			for name, file := range map[string]string{"client": clients[0], "server": servers[0]} {
				path := filepath.Join(temp, name+".ndjson")
				if err := os.WriteFile(path, streamOf(t, file), 0o600); err != nil {
					t.Fatal(err)
				}
				streams = append(streams, name+"="+path)
			}
			report := reportOf(t, "analyze", "--json", "--all", "client="+clients[0], "server="+servers[0])
			got := map[string]string{}
			for _, x := range correlated(t, streams...) {
				if x.Verdict != nil {
					got[x.Client+" "+x.Server] = x.Verdict.ID + " " + x.Verdict.Confidence
				}
			}
			flows, _ := report["flows"].([]any)
			for _, x := range flows {
				f := x.(map[string]any)
				ends, v := f["client"].(string)+" "+f["server"].(string), f["verdict"].(map[string]any)
				want := v["id"].(string)
				sure, _ := v["confidence"].(string)
				if want+" "+sure != got[ends] {
					t.Errorf("%s: the captures say %s %s, the streams %s", ends, want, sure, got[ends])
				}
				compared++
			}
		})
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// What a stream does not prove is not said: of a death that the client's stream
// tells, the server's decides only for times of which it tells everything.
func TestStreamsProveNoMoreThanTheyTell(t *testing.T) {
	const dir = "../../testdata/pcaps/ssh-silent-drop/"
	temp := t.TempDir()
	client := filepath.Join(temp, "client")
	if err := os.WriteFile(client, streamOf(t, dir+"client.pcap"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := streamOf(t, dir+"server.pcap")
	lines := bytes.SplitAfter(whole, []byte("\n"))
	for _, c := range []struct {
		name   string
		server []byte
		proven bool
	}{
		{"all that the server's watch told", whole, true},
		{"it stopped before the death", bytes.Join(lines[:4], nil), false},
		{"it is of other connections only", streamOf(t, "--port", "443", dir+"server.pcap"), false},
		{"it carries no segments", streamOf(t, "--no-segments", dir+"server.pcap"), false},
		{"it dropped packets, when is not known", bytes.ReplaceAll(whole, []byte(`"drops":0`), []byte(`"drops":7`)), false},
		{"it was not recording while the client probed", bytes.ReplaceAll(whole, []byte(`"holes":[]`),
			[]byte(`"holes":[{"from":"2026-11-20T23:30:00Z","to":"2026-11-21T02:00:00Z","why":"dropped"}]`)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := filepath.Join(t.TempDir(), "server")
			if err := os.WriteFile(server, c.server, 0o600); err != nil {
				t.Fatal(err)
			}
			var verdict string
			for _, x := range correlated(t, client, server) {
				if x.Verdict != nil {
					verdict = x.Verdict.ID + " " + x.Verdict.Confidence
				}
			}
			if proven := verdict == "silent-drop proven"; proven != c.proven || verdict == "" {
				t.Errorf("verdict %q", verdict)
			}
		})
	}
}

// A line that is none of a watch ends its stream and is told; the other streams
// go on.
func TestStreamsThatAreNone(t *testing.T) {
	temp := t.TempDir()
	good := filepath.Join(temp, "good")
	if err := os.WriteFile(good, streamOf(t, "../../testdata/pcaps/ssh-silent-drop/client.pcap"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"no json\n", "line 1 is no line of kaflow watch --format ndjson"},
		{`{"schema":"kaflow/1","type":"segments","segments":[{"frame":1,"at":"soon","data":""}]}` + "\n", `line 1 "soon" is no time`},
		{`{"schema":"kaflow/1","type":"segments","segments":[{"frame":1,"at":"2026-01-01T00:00:00Z","link":1,"data":"AAAA"}]}` + "\n", "line 1 holds segments of more than one connection, or none"},
		{`{"schema":"kaflow/1","type":"eve`, "the last line is cut"},
		{strings.Repeat("x", 2<<20), "a line has more than 1048576 octets"},
		{"", "empty: kaflow watch --format ndjson wrote no line of it"},
		{"\n\n", "empty: kaflow watch --format ndjson wrote no line of it"},
	} {
		bad := filepath.Join(temp, "bad")
		if err := os.WriteFile(bad, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, stderr bytes.Buffer
		status := run([]string{"correlate", good, bad}, nil, &out, &stderr)
		if status != statusDamaged || !strings.Contains(stderr.String(), "kaflow: "+bad+": "+c.want+"\n") {
			t.Errorf("exit status %d, stderr %q, want %q", status, stderr.String(), c.want)
		}
		if !strings.Contains(out.String(), "died") {
			t.Errorf("%s: the other stream was not told of", c.want)
		}
	}
}

// Every line of watch and correlate is as its published schema says, and has no
// key that it does not name.
func TestEventLinesAreThoseOfTheSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../monitor/schema/kaflow-events-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	const dir = "../../testdata/pcaps/ssh-silent-drop/"
	temp := t.TempDir()
	var text []byte
	for _, end := range []string{"client", "server"} {
		lines := streamOf(t, dir+end+".pcap")
		if err := os.WriteFile(filepath.Join(temp, end), lines, 0o600); err != nil {
			t.Fatal(err)
		}
		text = append(text, lines...)
	}
	var out bytes.Buffer
	if status := run([]string{"correlate", "--json", filepath.Join(temp, "client"), filepath.Join(temp, "server")}, nil, &out, io.Discard); status != statusDone {
		t.Fatalf("exit status %d", status)
	}
	types := map[string]int{}
	for l := range bytes.Lines(append(text, out.Bytes()...)) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(l))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", l, err)
		}
		line := doc.(map[string]any)
		kind := line["type"].(string)
		types[kind]++
		for key := range line {
			if !named(schema, kind, key) {
				t.Errorf("%s has a key %s that the schema does not name", kind, key)
			}
		}
	}
	for _, kind := range []string{"event", "segments", "capture"} {
		if types[kind] == 0 {
			t.Errorf("no line of type %s", kind)
		}
	}
}

// named reports whether a schema of several types names a key of one of them.
func named(s *jsonschema.Schema, kind, key string) bool {
	for _, of := range s.OneOf {
		if c := of.Properties["type"].Const; c != nil && *c == kind {
			return of.Properties[key] != nil
		}
	}
	return false
}

// shifted moves all times of a stream, as a clock that is wrong does.
func shifted(t *testing.T, text []byte, by time.Duration) []byte {
	t.Helper()
	return regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z`).ReplaceAllFunc(text, func(b []byte) []byte {
		at, err := time.Parse(time.RFC3339Nano, string(b))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(at.Add(by).Format("2006-01-02T15:04:05.000000000Z07:00"))
	})
}

// A death waits for what the other end knows of it, and not for ever; a clock that
// is wrong by an hour costs neither time nor truth.
func TestDeathsWaitForTheOtherEnd(t *testing.T) {
	const dir = "../../testdata/pcaps/ssh-silent-drop/"
	client, server := bytes.SplitAfter(streamOf(t, dir+"client.pcap"), []byte("\n")), streamOf(t, dir+"server.pcap")
	last := func(lines [][]byte) int { // the last capture line but that of the end
		for i := len(lines) - 1; i >= 0; i-- {
			if bytes.Contains(lines[i], []byte(`"type":"capture"`)) && !bytes.Contains(lines[i], []byte(`"end":true`)) {
				return i
			}
		}
		t.Fatal("no capture lines")
		return 0
	}
	for _, c := range []struct {
		name    string
		by      time.Duration // that the server's clock is ahead
		tells   bool          // the server's stream goes on
		after   time.Duration // in the reader's time, until the death is told
		verdict string
	}{
		{"it tells at once", time.Second, true, 0, "silent-drop proven"},
		{"its clock is an hour ahead", time.Hour, true, 0, "silent-drop proven"},
		{"its clock is an hour behind", -time.Hour, true, 0, "silent-drop proven"},
		{"it tells nothing more", 0, false, 31 * time.Second, "not proven"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := bytes.SplitAfter(shifted(t, server, c.by), []byte("\n"))
			var told []string
			x := correlate.New([]string{"client", "server"}, correlate.Options{Tell: func(ev correlate.Told) {
				if ev.What == "died" && ev.Verdict != nil && ev.Client == "10.1.1.1:42802" {
					told = append(told, ev.Verdict.ID+" "+string(ev.Verdict.Confidence))
				}
			}})
			now := time.Unix(1_700_000_000, 0)
			take := func(i int, all [][]byte) {
				for _, l := range all {
					if len(l) == 0 || bytes.Contains(l, []byte(`"event":"died"`)) && i == 1 {
						continue // the client alone tells of it
					}
					var line struct{ At time.Time }
					if err := json.Unmarshal(l, &line); err != nil {
						t.Fatal(err)
					}
					if at := line.At.Add(-time.Duration(i) * c.by); at.After(now) {
						now = at // it is read as it is written
					}
					if err := x.Take(i, l, now); err != nil {
						t.Fatal(err)
					}
				}
				x.Look(now)
			}
			end := last(lines)
			take(1, lines[:end/2])
			take(0, client)
			if len(told) > 0 {
				t.Fatalf("told %v before the server's stream knew", told)
			}
			rest := func() {
				take(1, lines[end/2:end+1])
				take(1, [][]byte{shifted(t, lines[end], 5*time.Second)}) // it says again how far it goes
			}
			// It says every five seconds how far it goes, and did so right before.
			all := regexp.MustCompile(`("until":)("[^"]+")(,"complete":)"[^"]+"`)
			take(1, [][]byte{shifted(t, all.ReplaceAll(lines[end], []byte("$1$2$3$2")), -time.Second)})
			now = now.Add(5200 * time.Millisecond)
			if x.Look(now); len(told) > 0 {
				t.Fatalf("told %v before the server's stream knew", told)
			}
			if c.tells {
				rest()
			}
			now = now.Add(c.after)
			x.Look(now)
			if len(told) != 1 || c.verdict != "not proven" && told[0] != c.verdict || c.verdict == "not proven" && strings.HasSuffix(told[0], " proven") {
				t.Errorf("told %v, want %s", told, c.verdict)
			}
			if told = nil; !c.tells { // a pipe that stood still for longer than anybody waits
				rest()
				if len(told) != 1 || told[0] != "silent-drop proven" {
					t.Errorf("told %v when it tells at last", told)
				}
				if x.Finish(); len(told) != 1 {
					t.Errorf("told %v in the end", told)
				}
			}
		})
	}
}

// Streams that were written before are read at once, one perhaps before the other:
// what is not read yet is neither missed nor of a clock that is behind.
func TestWhatIsNotReadYetIsWaitedFor(t *testing.T) {
	talk := "0 C > S SYN seq 99\n+20ms S > C SYN,ACK seq 899 ack 100\n+20ms C > S ACK seq 100 ack 900\n"
	for n := range 4 {
		talk += fmt.Sprintf("+40s C > S PSH,ACK seq %d ack 900 data \"hello\"\n+20ms S > C ACK seq 900 ack %d\n", 100+5*n, 105+5*n)
	}
	talk += "drop both\n+60s C > S ACK seq 119 ack 900\n+10s C > S ACK seq 119 ack 900\n+10s C > S ACK seq 119 ack 900\n+10s C > S RST,ACK seq 120 ack 900\n"
	script, err := dialogue.Parse(talk)
	if err != nil {
		t.Fatal(err)
	}
	client := streamOf(t, recorded(t, script, dialogue.Client))
	server := slices.Collect(bytes.Lines(streamOf(t, recorded(t, script, dialogue.Server))))
	told := func(read int) (all []string) {
		x := correlate.New([]string{"client", "server"}, correlate.Options{Tell: func(ev correlate.Told) {
			all = append(all, fmt.Sprint(ev.What, " ", ev.At, " ", ev.Says))
		}})
		now := time.Unix(1_800_000_000, 0)
		for i, lines := range []iter.Seq[[]byte]{bytes.Lines(client), slices.Values(server[:read])} {
			for l := range lines {
				if err := x.Take(i, l, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		x.Look(now.Add(200 * time.Millisecond))
		return all
	}
	whole := told(len(server))
	if len(whole) == 0 {
		t.Fatal("nothing is told of the whole streams")
	}
	for read := range server {
		for _, what := range told(read) {
			if !slices.Contains(whole, what) {
				t.Errorf("with %d of %d lines of the server's stream: %s", read, len(server), what)
			}
		}
	}
}

// Nothing of a stream reaches the terminal unescaped.
func TestStreamsAreEscaped(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad\x1b[2J")
	line := `{"schema":"kaflow/1","type":"event","vantage":"x","at":"2026-01-01T00:00:00Z","event":"recovered","client":"\u001b]0;x\u0007","server":"\u202e","says":"\u001b[2J"}` + "\n"
	if err := os.WriteFile(bad, []byte(line+"no json \x1b[2J\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		var out, stderr bytes.Buffer
		run([]string{"correlate", "--format", format, bad, bad}, nil, &out, &stderr)
		if text := out.String() + stderr.String(); strings.ContainsAny(text, "\x1b\x07\u202e") || !strings.Contains(text, "recovered") {
			t.Errorf("%s: %q", format, text)
		}
	}
}

// A stream of a part of the time does not tell of every segment, and says so.
func TestAStreamOfAPartOfTheTimeIsSelected(t *testing.T) {
	const path = "../../testdata/pcaps/ssh-silent-drop/client.pcap"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, `"selected":false`},
		{[]string{"--from", "1h"}, `"selected":true`},
		{[]string{"--until", "1h"}, `"selected":true`},
	} {
		text := streamOf(t, append(c.args, "-r", path)...)
		if other := strings.NewReplacer("true", "false", "false", "true").Replace(c.want); !bytes.Contains(text, []byte(c.want)) || bytes.Contains(text, []byte(other)) {
			t.Errorf("%v: no %s", c.args, c.want)
		}
	}
}
