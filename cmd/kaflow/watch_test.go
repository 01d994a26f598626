//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reportOf runs kaflow and returns the JSON report that it wrote, without what
// tells of the command line.
func reportOf(t *testing.T, args ...string) map[string]any {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	var stderr bytes.Buffer
	if status := run(append(args, "-o", path), nil, io.Discard, &stderr); status != statusDone {
		t.Fatalf("kaflow %v: exit status %d: %s", args, status, stderr.String())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// What is watched gets the verdicts that the file gets: the reports are equal,
// and a connection that was told as dead is dead in the report too.
func TestWatchJudgesAsAnalyzeDoes(t *testing.T) {
	files, err := filepath.Glob("../../testdata/pcaps/*/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	deaths := 0
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			want := reportOf(t, "analyze", "--json", "--all", file)
			got := reportOf(t, "watch", "--all", "-r", file)
			delete(want, "command")
			delete(got, "command")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("analyze against watch (-analyze +watch):\n%s", diff)
			}
			var events bytes.Buffer
			if status := run([]string{"watch", "--json", "-r", file}, nil, &events, io.Discard); status != statusDone {
				t.Fatalf("exit status %d", status)
			}
			told := map[string]string{} // newest of each connection
			for line := range strings.Lines(events.String()) {
				var ev struct {
					Event, Client, Server string
					Verdict               struct{ ID string }
				}
				if err := json.Unmarshal([]byte(line), &ev); err != nil {
					t.Fatal(err)
				}
				switch ends := ev.Client + " " + ev.Server; ev.Event {
				case "died":
					told[ends] = ev.Verdict.ID
				case "seen", "recovered":
					told[ends] = ""
				}
			}
			flows, _ := want["flows"].([]any)
			for _, x := range flows {
				f := x.(map[string]any)
				ends := f["client"].(string) + " " + f["server"].(string)
				id := f["verdict"].(map[string]any)["id"].(string)
				dead := told[ends]
				if dead != "" {
					deaths++
				}
				if dead != "" && dead != id {
					t.Errorf("%s was told to have died of %s, and the report says %s", ends, dead, id)
				}
			}
			if len(flows) == 0 || len(told) == 0 {
				t.Errorf("%d flows and %d connections told of", len(flows), len(told))
			}
		})
	}
	if deaths == 0 {
		t.Error("no death was told of in any of the captures")
	}
}

// A death goes to the webhook; that a connection was seen does not. A receiver
// that refuses costs a line, and the exit status stays.
func TestWatchPostsDeaths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.pcap")
	if err := os.WriteFile(path, talk(t, "4\n+1m C > S RST,ACK seq 100 ack 900"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{200, 403} {
		var died, others atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte(`"event":"died"`)) {
				died.Add(1)
			} else {
				others.Add(1)
			}
			w.WriteHeader(status)
		}))
		var stderr bytes.Buffer
		if got := run([]string{"watch", "-r", path, "--webhook", server.URL}, nil, io.Discard, &stderr); got != statusDone {
			t.Errorf("exit status %d", got)
		}
		server.Close()
		if died.Load() != 1 || others.Load() != 0 {
			t.Errorf("%d deaths and %d other events were posted, want 1 and 0", died.Load(), others.Load())
		}
		want := ""
		if status != 200 {
			want = "kaflow: --webhook: 1 events did not arrive: the receiver answers 403; watching goes on\n"
		}
		if stderr.String() != want {
			t.Errorf("stderr %q, want %q", stderr.String(), want)
		}
	}
}

// freePort returns an address of this host at which nobody listens, and which no
// connection is given by chance before a program listens there.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Metrics can be scraped while a pipe stays open, and are gone afterwards.
func TestWatchServesMetrics(t *testing.T) {
	address := freePort(t)
	c, in := start(t, io.Discard, "watch", "-r", "-", "--metrics", address)
	if _, err := in.Write(talk(t, "3")); err != nil {
		t.Fatal(err)
	}
	var body []byte
	for asked := time.Now(); time.Since(asked) < hangGuard; time.Sleep(100 * time.Millisecond) {
		if answer, err := http.Get("http://" + address + "/metrics"); err == nil {
			body, _ = io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		if bytes.Contains(body, []byte("kaflow_keepalive_probes_sent_total{side=\"client\"} 3\n")) {
			break
		}
	}
	for _, want := range []string{"kaflow_keepalive_probes_sent_total{side=\"client\"} 3", "kaflow_packets_total 6", "kaflow_flow_table_flows 1", "kaflow_idle_gap_seconds_count 3"} {
		if !bytes.Contains(body, []byte(want+"\n")) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	in.Close()
	if got := outcome(t, c).ExitCode(); got != statusDone {
		t.Errorf("exit status %d", got)
	}
}

// What is wrong with a file that is watched is said as it is of one that is analyzed.
func TestWatchTellsWhatIsWrongWithAFile(t *testing.T) {
	whole, err := os.ReadFile("../../testdata/pcaps/ssh-silent-drop/client.pcap")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(path, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	var watched, analyzed bytes.Buffer
	if got := run([]string{"watch", "--json", "-r", path}, nil, io.Discard, &watched); got != statusDamaged {
		t.Errorf("status %d, want %d", got, statusDamaged)
	}
	run([]string{path}, nil, io.Discard, &analyzed)
	if !strings.Contains(watched.String(), "cut short") || watched.String() != analyzed.String() {
		t.Errorf("watch says %q, analyze %q", watched.String(), analyzed.String())
	}
}
