package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kaflow/analyzer"
	"kaflow/monitor"
	"kaflow/tcp"
)

var death = monitor.Event{
	At: tcp.Instant(1_767_225_600_000_000_000), What: monitor.Died, Client: "192.0.2.1:40000", Server: "198.51.100.2:22", Frame: 9, Says: "gone \x1b[2J",
	Verdict: &analyzer.Verdict{ID: analyzer.SilentDrop, Confidence: analyzer.Likely},
}

// A receiver that is overloaded is asked again; what it refuses is not repeated.
func TestWebhook(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []int
		tries   int
		fails   bool
	}{
		{"at once", []int{200}, 1, false},
		{"after two failures", []int{503, 429, 204}, 3, false},
		{"never", []int{500, 500, 500, 500}, 4, true},
		{"refused", []int{404, 200}, 1, true},
		{"redirected", []int{302, 200}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			var bodies []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				body, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(body))
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.answers[len(bodies)-1])
			}))
			defer server.Close()
			hook := &monitor.Webhook{URL: server.URL + "/?token=secret", Vantage: "eth0", Tries: 4, First: time.Millisecond}
			if err := hook.Open(); err != nil {
				t.Fatal(err)
			}
			err := hook.Send(t.Context(), death)
			if (err != nil) != c.fails || err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
			if len(bodies) != c.tries {
				t.Errorf("%d tries, want %d", len(bodies), c.tries)
			}
			for _, body := range bodies {
				var doc struct {
					Schema, Event, Vantage, Client string
					Verdict                        struct{ ID string }
				}
				if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Schema != "kaflow/1" || doc.Event != "died" || doc.Vantage != "eth0" || doc.Verdict.ID != "silent-drop" || strings.Contains(body, "\x1b") {
					t.Errorf("posted %q: %v", body, err)
				}
			}
		})
	}
}

func TestWebhookErrorsKeepTheSecret(t *testing.T) {
	hook := &monitor.Webhook{URL: "http://127.0.0.1:1/?token=secret", Tries: 1}
	if err := hook.Open(); err != nil {
		t.Fatal(err)
	}
	if err := hook.Send(t.Context(), death); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	for _, bad := range []string{"", "ftp://example.com", "example.com/hook", "http://"} {
		if err := (&monitor.Webhook{URL: bad}).Open(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A receiver that hangs costs events, which are counted, and no time.
func TestAlarmNeverBlocks(t *testing.T) {
	hang := make(chan struct{})
	a := monitor.NewAlarm("slow", func(context.Context, monitor.Event) error {
		<-hang
		return errors.New("too late")
	})
	for range 10_000 {
		a.Send(death) // the test hangs here where this blocks
	}
	n, _ := a.Dropped()
	if n < 10_000-300 || n >= 10_000 {
		t.Errorf("%d of 10000 dropped", n)
	}
	close(hang)
	a.Close(time.Minute)
	if n, why := a.Dropped(); n != 10_000 || why != "too late" || a.Sent() != 0 {
		t.Errorf("in the end %d dropped (%s), %d sent", n, why, a.Sent())
	}
}

func TestLogs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skipf("no local sockets here: %v", err)
	}
	defer daemon.Close()
	receive := func() string {
		b := make([]byte, 65536)
		if err := daemon.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := daemon.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	to := &monitor.Dial{Path: path}
	if err := to.Open(); err != nil {
		t.Fatal(err)
	}
	if err := monitor.Log(monitor.Journal(to), "eth0")(t.Context(), death); err != nil {
		t.Fatal(err)
	}
	want := "MESSAGE=died 192.0.2.1:40000 to 198.51.100.2:22: gone \\x1b[2J\nPRIORITY=3\nSYSLOG_IDENTIFIER=kaflow\nKAFLOW_EVENT=died\nKAFLOW_VANTAGE=eth0\n" +
		"KAFLOW_CLIENT=192.0.2.1:40000\nKAFLOW_SERVER=198.51.100.2:22\nKAFLOW_FRAME=9\nKAFLOW_VERDICT=silent-drop\nKAFLOW_CONFIDENCE=likely\n"
	if got := receive(); got != want {
		t.Errorf("journald got %q\nwant %q", got, want)
	}
	log := monitor.Log(monitor.Syslog(to), "eth0")
	if err := log(t.Context(), monitor.Event{What: monitor.Seen, Says: "begins"}); err != nil {
		t.Fatal(err)
	}
	if err := log(t.Context(), death); err != nil {
		t.Fatal(err)
	}
	got := receive() // that it was seen is no news
	if !strings.HasPrefix(got, "<27>") || !strings.Contains(got, "]: died 192.0.2.1:40000 to 198.51.100.2:22: gone \\x1b[2J event=died vantage=eth0 ") || !strings.HasSuffix(got, " verdict=silent-drop confidence=likely") {
		t.Errorf("syslog got %q", got)
	}
}
