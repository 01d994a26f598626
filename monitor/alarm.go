package monitor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Alarm carries events to somewhere else, beside the capture: a slow or missing
// receiver costs events, which are counted, and never packets.
type Alarm struct {
	Name    string
	send    func(context.Context, Event) error
	queue   chan Event
	done    chan struct{}
	stop    context.CancelFunc
	dropped atomic.Uint64 // no room, or given up
	sent    atomic.Uint64
	newest  atomic.Pointer[string] // the newest failure
}

// alarmsWaiting is how many events wait for a slow receiver.
const alarmsWaiting = 256

// NewAlarm starts to carry events with send, one at a time and in order.
func NewAlarm(name string, send func(context.Context, Event) error) *Alarm {
	ctx, stop := context.WithCancel(context.Background())
	a := &Alarm{Name: name, send: send, queue: make(chan Event, alarmsWaiting), done: make(chan struct{}), stop: stop}
	go func() {
		defer close(a.done)
		for ev := range a.queue {
			if err := a.send(ctx, ev); err != nil {
				text := err.Error()
				a.newest.Store(&text)
				a.dropped.Add(1)
				continue
			}
			a.sent.Add(1)
		}
	}()
	return a
}

// Send hands an event over, or counts it as dropped where too many wait.
func (a *Alarm) Send(ev Event) {
	select {
	case a.queue <- ev:
	default:
		a.dropped.Add(1)
	}
}

// Close sends what waits, for as long as patience goes.
func (a *Alarm) Close(patience time.Duration) {
	close(a.queue)
	select {
	case <-a.done:
	case <-time.After(patience):
		a.dropped.Add(uint64(len(a.queue)))
	}
	a.stop()
}

// Dropped returns how many events did not arrive, and why the newest did not.
func (a *Alarm) Dropped() (n uint64, why string) {
	if text := a.newest.Load(); text != nil {
		why = *text
	}
	return a.dropped.Load(), why
}

// Sent returns how many events were taken.
func (a *Alarm) Sent() uint64 { return a.sent.Load() }

// Alarming reports whether an event is one that somebody should be told of.
func Alarming(ev Event) bool {
	return ev.What == AtRisk || ev.What == Died || ev.What == Recovered
}

// Webhook posts events as JSON. The zero value of its fields is the default.
type Webhook struct {
	URL     string
	Vantage string
	Tries   int           // for one event (default 6)
	First   time.Duration // pause before the second try; it doubles (default 1 s)
	client  *http.Client
}

// What a webhook may take.
const (
	webhookTimeout = 10 * time.Second
	webhookPause   = 30 * time.Second
)

// Open checks the address and loads what sending needs of the system, while
// files can still be read.
func (h *Webhook) Open() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want an address such as https://example.com/hook")
	}
	if h.Tries == 0 {
		h.Tries = 6
	}
	if h.First == 0 {
		h.First = time.Second
	}
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return errors.New("no transport")
	}
	transport := base.Clone()
	if u.Scheme == "https" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return fmt.Errorf("certificates of the system: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	h.client = &http.Client{Transport: transport, Timeout: webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return nil
}

// Send posts one event, and tries again with growing pauses where the receiver
// is not there or says that it is overloaded. Errors do not tell the address,
// which can hold a secret.
func (h *Webhook) Send(ctx context.Context, ev Event) error {
	var body bytes.Buffer
	if err := NDJSON(&body, h.Vantage)(ev); err != nil {
		return err
	}
	pause := h.First
	for try := 1; ; try++ {
		again, err := h.post(ctx, body.Bytes())
		if err == nil || !again || try >= h.Tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
		pause = min(2*pause, webhookPause)
	}
}

// post tries once, and reports whether it makes sense to try again.
func (h *Webhook) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("no such address")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "kaflow")
	answer, err := h.client.Do(request)
	if err != nil {
		var about *url.Error
		if errors.As(err, &about) {
			err = about.Err
		}
		return true, err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection serves again
	if answer.StatusCode/100 == 2 {
		return false, nil
	}
	busy := answer.StatusCode/100 == 5 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	return busy, fmt.Errorf("the receiver answers %d", answer.StatusCode)
}
