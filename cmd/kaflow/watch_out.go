package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"kaflow/monitor"
)

// outlets are where watch tells of events beside stdout.
type outlets struct {
	a       *app
	hook    *monitor.Webhook
	alarms  []*monitor.Alarm
	metrics *monitor.Metrics
	listen  net.Listener
	statm   *os.File // how much memory we take; nil: not known
	all     []*monitor.Alarm
	updated time.Time
	said    time.Time
	told    map[string]uint64 // dropped events that were told of
}

// What reading the outlets needs while files are out of reach: names of hosts.
var resolverFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"}

// newOutlets opens what was asked for, while files can still be read.
func (a *app) newOutlets(f *watchFlags) (*outlets, error) {
	o := &outlets{a: a, told: map[string]uint64{}}
	if f.webhook != "" {
		o.hook = &monitor.Webhook{URL: f.webhook}
		if err := o.hook.Open(); err != nil {
			return nil, usageError{"--webhook: " + err.Error()}
		}
	}
	if f.metrics != "" {
		address, wide, err := monitor.MetricsAddress(f.metrics)
		if err != nil {
			return nil, usageError{"--metrics " + f.metrics + ": " + err.Error()}
		}
		if wide {
			a.hint("--metrics %s: others than this host can read them", address)
		}
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		if o.listen, err = config.Listen(context.Background(), "tcp", address); err != nil {
			return nil, outputError{fmt.Errorf("--metrics %s: %w", address, reason(err))}
		}
		o.metrics = monitor.NewMetrics(version(), time.Now())
		o.statm, _ = os.Open("/proc/self/statm") // without it memory is not told
	}
	return o, nil
}

// reason strips from a network error what the caller says itself.
func reason(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

// start begins to carry events.
func (o *outlets) start(f *watchFlags, vantage string) error {
	for _, d := range []struct {
		name, path string
		handler    func(*monitor.Dial) func(context.Context, monitor.Event) error
	}{
		{"syslog", f.syslog, func(to *monitor.Dial) func(context.Context, monitor.Event) error {
			return monitor.Log(monitor.Syslog(to), vantage)
		}},
		{"journald", f.journald, func(to *monitor.Dial) func(context.Context, monitor.Event) error {
			return monitor.Log(monitor.Journal(to), vantage)
		}},
	} {
		if d.path == "" {
			continue
		}
		to := &monitor.Dial{Path: d.path}
		if err := to.Open(); err != nil {
			return outputError{fmt.Errorf("--%s: %w", d.name, err)}
		}
		o.all = append(o.all, monitor.NewAlarm(d.name, d.handler(to)))
	}
	if o.hook != nil {
		o.hook.Vantage = vantage
		o.alarms = append(o.alarms, monitor.NewAlarm("webhook", o.hook.Send))
	}
	if o.metrics != nil {
		go func() { _ = o.metrics.Serve(o.listen) }() // ends when the listener is closed
	}
	return nil
}

// event hands an event to who wants it.
func (o *outlets) event(ev monitor.Event) {
	for _, a := range o.all {
		a.Send(ev)
	}
	if !monitor.Alarming(ev) {
		return
	}
	for _, a := range o.alarms {
		a.Send(ev)
	}
}

// How often metrics are brought up to date, and how often at most a receiver's
// failures are told.
const (
	updateEvery  = 2 * time.Second
	troubleEvery = time.Minute
)

// update brings the metrics up to date, and says what did not arrive.
func (o *outlets) update(w *watcher) {
	now := time.Now()
	if o.metrics != nil && now.Sub(o.updated) >= updateEvery {
		o.updated = now
		o.metrics.Update(o.totals(w), w.engine.States(), w.f.ifaces, w.away)
	}
	if now.Sub(o.said) >= troubleEvery {
		o.trouble(now)
	}
}

// trouble tells of events that a receiver did not get.
func (o *outlets) trouble(now time.Time) {
	for _, a := range append(o.alarms[:len(o.alarms):len(o.alarms)], o.all...) {
		n, why := a.Dropped()
		if n == o.told[a.Name] {
			continue
		}
		o.said = now
		if why != "" {
			why = ": " + why
		}
		o.a.complain("--%s: %d events did not arrive%s; watching goes on", a.Name, n-o.told[a.Name], why)
		o.told[a.Name] = n
	}
}

// totals collects what the parts of a run count.
func (o *outlets) totals(w *watcher) monitor.Totals {
	t := monitor.Totals{Evicted: uint64(w.engine.Table.Evicted()), Table: w.engine.Table.Live(), Alarms: map[string]monitor.AlarmTotals{}, Resident: o.resident()}
	for _, f := range w.files() {
		t.Packets += f.Frames
		t.Segments += f.TCPFrames
		t.Drops += f.Drops
	}
	// What is known of a file that is being read may be a while old.
	t.Packets, t.Segments = max(t.Packets, w.frames), max(t.Segments, w.segments)
	if w.saver != nil {
		t.Recorder = w.saver.recorder.Size()
		t.Proofs = monitor.ProofTotals{Skipped: w.saver.skipped.Load(), Failed: w.saver.failures.Load()}
	}
	for _, a := range append(o.alarms[:len(o.alarms):len(o.alarms)], o.all...) {
		n, _ := a.Dropped()
		t.Alarms[a.Name] = monitor.AlarmTotals{Sent: a.Sent(), Dropped: n}
	}
	return t
}

// resident returns how much memory the process takes, 0 where that is not known.
func (o *outlets) resident() uint64 {
	if o.statm == nil {
		return 0
	}
	b := make([]byte, 128)
	n, _ := o.statm.ReadAt(b, 0)
	var size, resident uint64
	if _, err := fmt.Fscan(strings.NewReader(string(b[:n])), &size, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}

// close sends what waits, for a few seconds.
func (o *outlets) close() {
	for _, a := range append(o.alarms[:len(o.alarms):len(o.alarms)], o.all...) {
		a.Close(3 * time.Second)
	}
	o.trouble(time.Now())
	if o.listen != nil {
		o.listen.Close()
	}
}
