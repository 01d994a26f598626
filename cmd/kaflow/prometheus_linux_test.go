package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tool skips where a program is missing.
func tool(t *testing.T, name, lacks string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: %s", name, lacks)
	}
	return path
}

// Prometheus' own tool takes the alert rules, and they alert when they should
// and only then.
func TestAlertRulesInPrometheus(t *testing.T) {
	promtool := tool(t, "promtool", "the alert rules are not tested")
	for _, args := range [][]string{{"check", "rules", "kaflow-alerts.yml"}, {"test", "rules", "kaflow-alerts-test.yml"}} {
		c := exec.Command(promtool, args...)
		c.Dir = "../../contrib"
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// A rule that never fires fails the test of rules, so it can fail.
	rules, err := os.ReadFile("../../contrib/kaflow-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../contrib/kaflow-alerts-test.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken := bytes.Replace(rules, []byte("kaflow_capture_up == 0"), []byte("kaflow_capture_up == 7"), 1)
	for name, text := range map[string][]byte{"kaflow-alerts.yml": broken, "kaflow-alerts-test.yml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(promtool, "test", "rules", "kaflow-alerts-test.yml")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err == nil {
		t.Errorf("a broken rule passes:\n%s", out)
	}
}

// fetch returns what an address answers with status 200, nil else.
func fetch(address string) []byte {
	answer, err := http.Get(address)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// A real Prometheus scrapes a watch, loads the alert rules, and understands every
// expression of the dashboard; its tool finds nothing wrong with the metrics.
func TestPrometheusScrapesTheWatch(t *testing.T) {
	prometheus := tool(t, "prometheus", "no real Prometheus scrapes the metrics")
	promtool := tool(t, "promtool", "the metrics are not checked by Prometheus' own tool")
	address, web := freePort(t), freePort(t)
	_, in := start(t, io.Discard, "watch", "-r", "-", "--metrics", address)
	if _, err := in.Write(talk(t, "3")); err != nil {
		t.Fatal(err)
	}
	var metrics []byte
	eventually(t, "metrics", func() bool {
		metrics = fetch("http://" + address + "/metrics")
		return bytes.Contains(metrics, []byte("kaflow_packets_total 6\n"))
	})
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	dir := t.TempDir()
	rules, err := filepath.Abs("../../contrib/kaflow-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: kaflow
    static_configs: [{targets: [%q]}]
`, rules, address), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(prometheus, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", web)
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	query := func(expr string) (n int, value string, err error) {
		var doc struct {
			Status, Error string
			Data          struct {
				Result []struct{ Value [2]any }
			}
		}
		answer, err := http.Get("http://" + web + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&doc); err != nil {
			return 0, "", err
		}
		if doc.Status != "success" {
			return 0, "", fmt.Errorf("%s: %s", expr, doc.Error)
		}
		if n = len(doc.Data.Result); n > 0 {
			value = fmt.Sprint(doc.Data.Result[0].Value[1])
		}
		return n, value, nil
	}
	for want, expr := range map[string]string{"6": "kaflow_packets_total", "3": `kaflow_keepalive_probes_sent_total{side="client"}`, "1": `up{job="kaflow"}`} {
		for asked := time.Now(); ; time.Sleep(100 * time.Millisecond) { // it takes 5 s to look for its targets
			_, got, err := query(expr)
			if err == nil && got == want {
				break
			}
			if time.Since(asked) > hangGuard {
				t.Fatalf("%s is %q, want %s: %v\n%s", expr, got, want, err, log.String())
			}
		}
	}
	dashboard, err := os.ReadFile("../../contrib/grafana-kaflow.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(dashboard, &doc); err != nil {
		t.Fatal(err)
	}
	exprs := expressions(doc)
	if len(exprs) < 10 {
		t.Errorf("the dashboard has %d expressions only", len(exprs))
	}
	eventually(t, "the dashboard's expressions have answers", func() bool { // rates need two scrapes
		answered := 0
		for _, expr := range exprs {
			n, _, err := query(strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(expr))
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				answered++
			}
		}
		return answered >= len(exprs)-3 // of deaths, and of what records them, there is nothing to tell
	})
	var loaded struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	eventually(t, "the rules were asked", func() bool {
		body := fetch("http://" + web + "/api/v1/rules")
		if body == nil || json.Unmarshal(body, &loaded) != nil || len(loaded.Data.Groups) != 1 {
			return false
		}
		for _, r := range loaded.Data.Groups[0].Rules {
			if r.Health == "unknown" {
				return false
			}
		}
		return true
	})
	for _, r := range loaded.Data.Groups[0].Rules {
		if r.Health != "ok" {
			t.Errorf("rule %s: %s: %s", r.Name, r.Health, r.LastError)
		}
	}
}

// expressions returns what a dashboard's panels ask for.
func expressions(doc any) (out []string) {
	switch x := doc.(type) {
	case map[string]any:
		for key, value := range x {
			if text, ok := value.(string); ok && key == "expr" {
				out = append(out, text)
			}
			out = append(out, expressions(value)...)
		}
	case []any:
		for _, value := range x {
			out = append(out, expressions(value)...)
		}
	}
	return out
}
