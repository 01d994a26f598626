package monitor

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kaflow/flows"
)

// Metrics counts what is watched, for Prometheus. Labels are words from fixed
// lists and names of interfaces: no addresses. It may be scraped while the
// engine works.
type Metrics struct {
	registry *prometheus.Registry

	flows    *prometheus.GaugeVec
	events   *prometheus.CounterVec
	deaths   *prometheus.CounterVec
	sent     *prometheus.CounterVec
	answered *prometheus.CounterVec
	lost     prometheus.Counter
	gaps     prometheus.Histogram
	rtt      prometheus.Histogram
	up       *prometheus.GaugeVec
	totals   totals
}

// Totals are counters that somebody else keeps.
type Totals struct {
	Packets  uint64 // frames read
	Segments uint64 // of them TCP
	Drops    uint64 // by the kernel
	Evicted  uint64 // flows that left a full table
	Table    int    // flows in the table
	Recorder int    // octets of the flight recorder
	Resident uint64 // octets of memory; 0: not known
	Alarms   map[string]AlarmTotals
	Proofs   ProofTotals
}

// AlarmTotals are what became of the events for one receiver.
type AlarmTotals struct{ Sent, Dropped uint64 }

// ProofTotals are what became of the proof of deaths.
type ProofTotals struct{ Skipped, Failed uint64 }

// totals hands the newest Totals to a scrape.
type totals struct {
	mu     sync.Mutex
	newest Totals
}

// NewMetrics returns metrics of a program of that version that began at start.
func NewMetrics(version string, start time.Time) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	m.flows = gauge("kaflow_flows", "Connections that are watched, by state.", "state")
	m.events = counter("kaflow_events_total", "Events told, by kind.", "event")
	m.deaths = counter("kaflow_flow_deaths_total", "Connections that died, by verdict.", "verdict")
	m.sent = counter("kaflow_keepalive_probes_sent_total", "Keepalive probes seen, by the end that sent them.", "side")
	m.answered = counter("kaflow_keepalive_probes_answered_total", "Keepalive probes that were answered, by the end that sent them.", "side")
	m.up = gauge("kaflow_capture_up", "1 while the interface is captured on, 0 while it is down or gone.", "interface")
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{Name: "kaflow_keepalive_probes_lost_total", Help: "Keepalive probes that got no answer in time."})
	m.gaps = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kaflow_idle_gap_seconds", Help: "Silences of connections of a second and more, when they end.",
		Buckets: []float64{2, 5, 10, 30, 60, 120, 300, 350, 600, 900, 1800, 3600, 7200, 14400, 86400}})
	m.rtt = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kaflow_keepalive_probe_rtt_seconds", Help: "From a keepalive probe to its answer.",
		Buckets: []float64{.0001, .0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}})
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kaflow_build_info", Help: "1, labelled with the version.", ConstLabels: prometheus.Labels{"version": version}})
	began := prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_start_time_seconds", Help: "When watching began, in seconds since 1970."})
	m.registry.MustRegister(m.lost, m.gaps, m.rtt, info, began, &m.totals)
	info.Set(1)
	began.Set(float64(start.UnixNano()) / 1e9)
	for _, state := range states {
		m.flows.WithLabelValues(state)
	}
	for _, what := range []string{Seen, ProbeLost, AtRisk, Died, Recovered, NotObserved} {
		m.events.WithLabelValues(what)
	}
	for _, side := range []string{"client", "server"} {
		m.sent.WithLabelValues(side)
		m.answered.WithLabelValues(side)
	}
	return m
}

// States that a watched connection can be in.
var states = []string{"alive", "failing", "at-risk", "dead"}

// Event counts an event.
func (m *Metrics) Event(ev Event) {
	m.events.WithLabelValues(ev.What).Inc()
	switch {
	case ev.What == ProbeLost:
		m.lost.Inc()
	case ev.Verdict != nil:
		m.deaths.WithLabelValues(ev.Verdict.ID).Inc()
	}
}

// segment counts what a segment was for. It comes gap behind the one before of
// its connection; rtt is the age of the probe that it answers, 0 where it
// answers none that is known.
func (m *Metrics) segment(l flows.Label, gap, rtt time.Duration) {
	if l.Kind == flows.KeepaliveProbe && l.Sender <= flows.Server {
		m.sent.WithLabelValues(side(l.Sender)).Inc()
	}
	if l.Kind == flows.KeepaliveACK && l.Sender <= flows.Server {
		m.answered.WithLabelValues(side(1 - l.Sender)).Inc()
		if rtt > 0 {
			m.rtt.Observe(rtt.Seconds())
		}
	}
	if gap >= time.Second {
		m.gaps.Observe(gap.Seconds())
	}
}

// Update takes what others count, and which interfaces are away.
func (m *Metrics) Update(t Totals, counts map[string]int, interfaces, away []string) {
	m.totals.mu.Lock()
	m.totals.newest = t
	m.totals.mu.Unlock()
	for _, state := range states {
		m.flows.WithLabelValues(state).Set(float64(counts[state]))
	}
	for _, name := range interfaces {
		m.up.WithLabelValues(name).Set(1)
	}
	for _, name := range away {
		m.up.WithLabelValues(name).Set(0)
	}
}

// described are the counters of Totals without labels.
var described = []struct {
	name, help string
	kind       prometheus.ValueType
	of         func(*Totals) float64
}{
	{"kaflow_packets_total", "Frames read.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Packets) }},
	{"kaflow_segments_total", "TCP frames read.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Segments) }},
	{"kaflow_capture_drops_total", "Packets that the kernel had no room for.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Drops) }},
	{"kaflow_flows_evicted_total", "Connections that left a full table.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Evicted) }},
	{"kaflow_flow_table_flows", "Connections in the table.", prometheus.GaugeValue, func(t *Totals) float64 { return float64(t.Table) }},
	{"kaflow_recorder_bytes", "Memory of the flight recorder.", prometheus.GaugeValue, func(t *Totals) float64 { return float64(t.Recorder) }},
	{"kaflow_proofs_skipped_total", "Deaths that came too fast for their proof to be saved.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Proofs.Skipped) }},
	{"kaflow_proof_failures_total", "Proof that could not be written.", prometheus.CounterValue, func(t *Totals) float64 { return float64(t.Proofs.Failed) }},
	{"process_resident_memory_bytes", "Resident memory.", prometheus.GaugeValue, func(t *Totals) float64 { return float64(t.Resident) }},
}

// Describe implements prometheus.Collector: unchecked.
func (*totals) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (t *totals) Collect(out chan<- prometheus.Metric) {
	t.mu.Lock()
	now := t.newest
	t.mu.Unlock()
	for _, d := range described {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(d.name, d.help, nil, nil), d.kind, d.of(&now))
	}
	sent := prometheus.NewDesc("kaflow_alarms_sent_total", "Events that a receiver took.", []string{"receiver"}, nil)
	dropped := prometheus.NewDesc("kaflow_alarms_dropped_total", "Events that a receiver did not get.", []string{"receiver"}, nil)
	for name, a := range now.Alarms {
		out <- prometheus.MustNewConstMetric(sent, prometheus.CounterValue, float64(a.Sent), name)
		out <- prometheus.MustNewConstMetric(dropped, prometheus.CounterValue, float64(a.Dropped), name)
	}
}

// MetricsAddress reads an address for Listen: with a port alone it is
// 127.0.0.1's. wide says that others than this host can reach it.
func MetricsAddress(text string) (address string, wide bool, err error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = "", strings.TrimPrefix(text, ":")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return "", false, errors.New("want a port, or an address and a port such as 127.0.0.1:9469")
	}
	if _, err := netip.ParseAddrPort(net.JoinHostPort(host, port)); err != nil {
		return "", false, errors.New("want a port, or an address and a port such as 127.0.0.1:9469")
	}
	return net.JoinHostPort(host, port), !at.IsLoopback(), nil
}

// Limits of the metrics' server.
const (
	mostScrapers  = 16
	headerTimeout = 5 * time.Second
	headerOctets  = 8 << 10
)

// Serve answers GET /metrics on a listener until it is closed.
func (m *Metrics) Serve(l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostScrapers}))
	server := &http.Server{
		Handler: knownHost(mux), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: 2 * headerTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: headerOctets, ErrorLog: log.New(io.Discard, "", 0),
	}
	return server.Serve(&fewListener{Listener: l, free: make(chan struct{}, mostScrapers)})
}

// knownHost refuses requests for names other than an address or localhost: a
// page of elsewhere whose name was made to point here could read them.
func knownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
			http.Error(w, "ask by address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fewListener has few connections open at a time.
type fewListener struct {
	net.Listener
	free chan struct{}
}

// Accept implements net.Listener.
func (l *fewListener) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &fewConn{Conn: c, l: l}, nil
}

type fewConn struct {
	net.Conn
	l    *fewListener
	once sync.Once
}

// Close implements net.Conn.
func (c *fewConn) Close() error {
	c.once.Do(func() { <-c.l.free })
	return c.Conn.Close()
}
