package monitor

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"

	"kaflow/analyzer"
	"kaflow/flows"
)

// filled returns metrics in which every series has a value.
func filled() *Metrics {
	m := NewMetrics("1.0", time.Unix(1_700_000_000, 0))
	m.Event(Event{What: ProbeLost})
	m.Event(Event{What: Died, Verdict: &analyzer.Verdict{ID: analyzer.SilentDrop}})
	m.segment(flows.Label{Kind: flows.KeepaliveProbe, Sender: flows.Client}, 90*time.Second, 0)
	m.segment(flows.Label{Kind: flows.KeepaliveACK, Sender: flows.Server}, 0, 20*time.Millisecond)
	m.Update(Totals{Packets: 12, Segments: 10, Drops: 3, Alarms: map[string]AlarmTotals{"webhook": {Sent: 1, Dropped: 2}}},
		map[string]int{"alive": 5, "dead": 1}, []string{"eth0", "eth1"}, []string{"eth1"})
	return m
}

func TestMetricsFollowTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(filled().registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
}

func TestMetricsValues(t *testing.T) {
	const want = `
# HELP kaflow_capture_drops_total Packets that the kernel had no room for.
# TYPE kaflow_capture_drops_total counter
kaflow_capture_drops_total 3
# HELP kaflow_capture_up 1 while the interface is captured on, 0 while it is down or gone.
# TYPE kaflow_capture_up gauge
kaflow_capture_up{interface="eth0"} 1
kaflow_capture_up{interface="eth1"} 0
# HELP kaflow_flow_deaths_total Connections that died, by verdict.
# TYPE kaflow_flow_deaths_total counter
kaflow_flow_deaths_total{verdict="silent-drop"} 1
# HELP kaflow_flows Connections that are watched, by state.
# TYPE kaflow_flows gauge
kaflow_flows{state="alive"} 5
kaflow_flows{state="at-risk"} 0
kaflow_flows{state="dead"} 1
kaflow_flows{state="failing"} 0
# HELP kaflow_keepalive_probes_answered_total Keepalive probes that were answered, by the end that sent them.
# TYPE kaflow_keepalive_probes_answered_total counter
kaflow_keepalive_probes_answered_total{side="client"} 1
kaflow_keepalive_probes_answered_total{side="server"} 0
`
	if err := testutil.GatherAndCompare(filled().registry, strings.NewReader(want), "kaflow_capture_drops_total", "kaflow_capture_up", "kaflow_flow_deaths_total", "kaflow_flows", "kaflow_keepalive_probes_answered_total"); err != nil {
		t.Error(err)
	}
}

// What the dashboard and the alert rules ask for is there.
func TestContribAsksForMetricsThatExist(t *testing.T) {
	families, err := filled().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		known[f.GetName()] = true
	}
	for name, parse := range map[string]func([]byte, any) error{"kaflow-alerts.yml": yaml.Unmarshal, "grafana-kaflow.json": json.Unmarshal} {
		text, err := os.ReadFile("../contrib/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := parse(text, &doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		asked := regexp.MustCompile(`\b(kaflow|process)_[a-z_]+`).FindAllString(string(text), -1)
		if len(asked) < 5 {
			t.Errorf("%s asks for %v only", name, asked)
		}
		for _, metric := range asked {
			if !known[metric] && !known[strings.TrimSuffix(metric, "_bucket")] {
				t.Errorf("%s asks for %s, which does not exist", name, metric)
			}
		}
	}
}

func TestMetricsAddress(t *testing.T) {
	for text, want := range map[string]string{
		"9469": "127.0.0.1:9469", ":9469": "127.0.0.1:9469", "127.0.0.1:1": "127.0.0.1:1", "0.0.0.0:9469": "wide 0.0.0.0:9469", "[::1]:80": "[::1]:80",
		"example.com:80": "error", "": "error", "99999": "error", "eth0": "error",
	} {
		address, wide, err := MetricsAddress(text)
		if wide {
			address = "wide " + address
		}
		if err != nil {
			address = "error"
		}
		if address != want {
			t.Errorf("%q gives %s, want %s", text, address, want)
		}
	}
}

// The server answers by address only, and goes on answering beside clients that
// send nothing.
func TestMetricsServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = filled().Serve(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	for range mostScrapers - 1 { // open and silent
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	client := http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		host, path string
		status     int
	}{{"", "/metrics", 200}, {"localhost", "/metrics", 200}, {"[::1]:9469", "/metrics", 200}, {"evil.example", "/metrics", 403}, {"", "/debug/pprof/", 404}} {
		request, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = c.host
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != c.status || (c.status == 200) != strings.Contains(string(body), "kaflow_flows{state=\"alive\"} 5") {
			t.Errorf("host %q, %s: status %d, want %d; %d octets", c.host, c.path, answer.StatusCode, c.status, len(body))
		}
	}
}
