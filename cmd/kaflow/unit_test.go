package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"kaflow/flows"
	"kaflow/tcp"
)

func TestNothingDrivesATerminal(t *testing.T) {
	for in, want := range map[string]struct{ text, json string }{
		"web.pcap":    {"web.pcap", `"web.pcap"`},
		"größe.pcap":  {"größe.pcap", `"größe.pcap"`},
		"a\x1b[2Jb":   {`a\x1b[2Jb`, `"a\u001b[2Jb"`},
		"a\tb\nc":     {`a\x09b\x0ac`, `"a\u0009b\u000ac"`},
		"a\u202eb":    {`a\u202eb`, `"a\u202eb"`},
		"\xff\xfe":    {`\xff\xfe`, "\"\ufffd\ufffd\""},
		"\ufffd":      {"\ufffd", "\"\ufffd\""},
		"\U000e0001":  {`\U000e0001`, `"\udb40\udc01"`},
		`quote " \`:   {`quote " \`, `"quote \" \\"`},
		"a\u0085b":    {`a\u0085b`, `"a\u0085b"`},
		"\x7fdelete":  {`\x7fdelete`, `"\u007fdelete"`},
		"":            {"", `""`},
		"\u00a0nobrk": {`\u00a0nobrk`, `"\u00a0nobrk"`},
	} {
		if got := escape(in); got != want.text {
			t.Errorf("escape(%q) = %s, want %s", in, got, want.text)
		}
		if got := string(appendJSON(nil, in)); got != want.json {
			t.Errorf("appendJSON(%q) = %s, want %s", in, got, want.json)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"flows", "flows", 0}, {"flow", "flows", 1}, {"framse", "frames", 2}, {"", "man", 3}, {"analyse", "analyze", 1}, {"kitten", "sitting", 3}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := editDistance(c.b, c.a); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestMaxInput(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "500M": 500 << 20, "2T": 2 << 40, "3GiB": 3 << 30, "7B": 7} {
		f := flags{maxInput: text}
		if got, err := f.octets(); got != want || err != nil {
			t.Errorf("--max-input %q = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "much", "1X", "9999999999T", "M"} {
		f := flags{maxInput: text}
		if got, err := f.octets(); err == nil {
			t.Errorf("--max-input %q = %d, want an error", text, got)
		}
	}
}

func TestCoversNamesAVantagePoint(t *testing.T) {
	points := []point{{name: "client.pcap"}, {name: "a=b"}}
	i, span, err := parseCovers("a=b=2026-01-01T00:00:00Z..2026-01-01T02:00:00+01:00", points)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err != nil || i != 1 || span.From != tcp.Instant(from.UnixNano()) || span.To.Sub(span.From) != time.Hour {
		t.Errorf("got point %d, %v, %v", i, span, err)
	}
	for text, want := range map[string]string{
		"client.pcap": "want NAME=FROM..UNTIL",
		"x=2026-01-01T00:00:00Z..2026-01-01T02:00:00Z":           "no vantage point is called x",
		"client.pcap=1h..2h":                                     "1h is not RFC 3339",
		"client.pcap=2026-01-01T02:00:00Z..2026-01-01T01:00:00Z": "it ends before it begins",
	} {
		if _, _, err := parseCovers(text, points); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("parseCovers(%q): %v, want %s", text, err, want)
		}
	}
}

func TestInterruptibleGivesEveryOctet(t *testing.T) {
	want := strings.Repeat("0123456789", 100_000)
	in := interruptible(t.Context(), iotest.HalfReader(strings.NewReader(want)))
	got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(in, 100)))
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+string(rest) != want {
		t.Errorf("%d octets came, want %d, or others", len(got)+len(rest), len(want))
	}
}

func TestInterruptiblePassesErrorsOn(t *testing.T) {
	in := interruptible(t.Context(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrClosedPipe)))
	got, err := io.ReadAll(in)
	if string(got) != "abc" || err != io.ErrClosedPipe {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestInterruptibleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	in := interruptible(ctx, r)
	cancel()
	if n, err := in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read = %d, %v, want 0, EOF", n, err)
	}
}

func TestExitStatusPrecedence(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*app)
		err  error
		want int
	}{
		"nothing wrong":                {func(*app) {}, nil, 0},
		"usage before all":             {func(a *app) { a.damaged, a.limited = true, true }, usageError{"x"}, 2},
		"output before damage":         {func(a *app) { a.damaged, a.matched = true, true }, outputError{io.ErrShortWrite}, 5},
		"signal before damage":         {func(a *app) { a.damaged = true; a.signal.Store(2) }, nil, 130},
		"damage before limit":          {func(a *app) { a.damaged, a.limited, a.matched = true, true, true }, nil, 3},
		"limit before a match":         {func(a *app) { a.limited, a.matched = true, true }, nil, 4},
		"a match":                      {func(a *app) { a.matched = true }, nil, 1},
		"nothing could be read at all": {func(a *app) { a.damaged = true }, errNothing, 3},
	} {
		a := &app{stderr: &bytes.Buffer{}}
		c.set(a)
		if got := a.status(c.err); got != c.want {
			t.Errorf("%s: status %d, want %d", name, got, c.want)
		}
	}
}

func TestLookBackRevisesWhatWaits(t *testing.T) {
	var got []tcp.Ordinal
	revised := 0
	b := lookBack{emit: func(l flows.Label) {
		got = append(got, l.Ord)
		if l.Stream == 7 {
			revised++
		}
	}}
	const n = 3*lookBackLabels + 5
	for i := tcp.Ordinal(1); i <= n; i++ {
		b.add(flows.Label{Ord: 2 * i}) // not every frame is a segment
		if i%1000 == 0 {
			b.revise(flows.Label{Ord: 2 * (i - 63), Stream: 7})
			b.revise(flows.Label{Ord: 2*i - 1, Stream: 7}) // of no such frame
		}
	}
	b.flush()
	if len(got) != n || revised != n/1000 {
		t.Fatalf("%d labels, %d revised; want %d, %d", len(got), revised, n, n/1000)
	}
	for i, ord := range got {
		if ord != tcp.Ordinal(2*(i+1)) {
			t.Fatalf("label %d is of frame %d", i, ord)
		}
	}
}
