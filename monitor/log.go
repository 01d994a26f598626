package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Log returns a func that logs events, except that a connection was seen: deaths
// as errors, what is at risk as a warning, the rest as information.
func Log(h slog.Handler, vantage string) func(context.Context, Event) error {
	return func(ctx context.Context, ev Event) error {
		level := slog.LevelInfo
		switch ev.What {
		case Seen:
			return nil
		case Died:
			level = slog.LevelError
		case AtRisk:
			level = slog.LevelWarn
		}
		text := ev.What
		if ev.Client != "" {
			text += " " + ev.Client + " to " + ev.Server
		}
		r := slog.NewRecord(ev.At.Time(), level, safe(text+": "+ev.Says), 0)
		r.AddAttrs(slog.String("event", ev.What), slog.String("vantage", safe(vantage)))
		if ev.Client != "" {
			r.AddAttrs(slog.String("client", safe(ev.Client)), slog.String("server", safe(ev.Server)))
		}
		if ev.Frame != 0 {
			r.AddAttrs(slog.Uint64("frame", ev.Frame))
		}
		if v := ev.Verdict; v != nil {
			r.AddAttrs(slog.String("verdict", v.ID), slog.String("confidence", string(v.Confidence)))
			if v.Cause != "" {
				r.AddAttrs(slog.String("cause", v.Cause))
			}
		}
		return h.Handle(ctx, r)
	}
}

// Dial opens a local datagram socket that logs are sent to, and again where the
// daemon behind it was started anew.
type Dial struct {
	Path string
	mu   sync.Mutex
	conn net.Conn
}

// Write sends one datagram.
func (d *Dial) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		if n, err := d.send(b); err == nil {
			return n, nil
		}
	}
	if err := d.open(); err != nil {
		return 0, err
	}
	return d.send(b)
}

// Open connects, so that a missing daemon is noticed early.
func (d *Dial) Open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open()
}

func (d *Dial) open() error {
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
	conn, err := net.Dial("unixgram", d.Path)
	if err != nil {
		return fmt.Errorf("no log daemon at %s", d.Path)
	}
	d.conn = conn
	return nil
}

func (d *Dial) send(b []byte) (int, error) {
	if err := d.conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return 0, err
	}
	return d.conn.Write(b)
}

// local is what the two handlers for daemons of this host share.
type local struct {
	to     *Dial
	attrs  []slog.Attr
	format func(slog.Record, []slog.Attr) []byte
}

// Syslog returns a handler that writes to the syslog daemon (RFC 3164, facility
// daemon), attributes as key=value.
func Syslog(to *Dial) slog.Handler { return &local{to: to, format: syslogLine} }

// Journal returns a handler that writes to journald, attributes as fields
// (systemd's native journal protocol).
func Journal(to *Dial) slog.Handler { return &local{to: to, format: journalEntry} }

// Enabled implements slog.Handler.
func (*local) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l *local) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(l.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	_, err := l.to.Write(l.format(r, attrs))
	return err
}

// WithAttrs implements slog.Handler.
func (l *local) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &local{l.to, append(slices.Clone(l.attrs), attrs...), l.format}
}

// WithGroup implements slog.Handler; groups are flattened.
func (l *local) WithGroup(string) slog.Handler { return l }

// severity is syslog's number for a level.
func severity(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

func syslogLine(r slog.Record, attrs []slog.Attr) []byte {
	const daemon = 3
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>%s kaflow[%d]: %s", daemon<<3|severity(r.Level), r.Time.Local().Format(time.Stamp), os.Getpid(), r.Message)
	for _, a := range attrs {
		value := a.Value.String()
		if value == "" || strings.ContainsAny(value, " \"=") {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&b, " %s=%s", a.Key, value)
	}
	return b.Bytes()
}

func journalEntry(r slog.Record, attrs []slog.Attr) []byte {
	var b bytes.Buffer
	field := func(key, value string) {
		if !strings.Contains(value, "\n") {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
			return
		}
		b.WriteString(key + "\n")
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
		b.WriteString(value + "\n")
	}
	field("MESSAGE", r.Message)
	field("PRIORITY", strconv.Itoa(severity(r.Level)))
	field("SYSLOG_IDENTIFIER", "kaflow")
	for _, a := range attrs {
		field("KAFLOW_"+strings.ToUpper(strings.ReplaceAll(a.Key, "-", "_")), a.Value.String())
	}
	return b.Bytes()
}
