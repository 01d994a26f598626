package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"kaflow/internal/dialogue"
	"kaflow/internal/lab"
)

// recordings are the captures of both ends, and by how much the server's clock
// is ahead.
type recordings struct {
	client, server []lab.Frame
	ahead          time.Duration
}

// cuts are ways in which two captures of one event begin and end at different
// moments, each at a share of the whole. Files are what the server's capture
// consists of afterwards.
var cuts = []struct {
	name string
	do   func(r recordings, share float64) (client, server []lab.Frame)
}{
	{"the server's ends early", func(r recordings, x float64) (c, s []lab.Frame) { return r.client, head(r.server, x) }},
	{"the client's ends early", func(r recordings, x float64) (c, s []lab.Frame) { return head(r.client, x), r.server }},
	{"both end early", func(r recordings, x float64) (c, s []lab.Frame) {
		c = head(r.client, x)
		return c, before(r.server, c[len(c)-1].At.Add(r.ahead))
	}},
	{"the server's begins late", func(r recordings, x float64) (c, s []lab.Frame) { return r.client, rest(r.server, x) }},
	{"the client's begins late", func(r recordings, x float64) (c, s []lab.Frame) { return rest(r.client, x), r.server }},
	{"the server's begins late, the client's ends early", func(r recordings, x float64) (c, s []lab.Frame) {
		return head(r.client, 1-x/2), rest(r.server, x/2)
	}},
	{"the server's ends early, by a clock five hours ahead and 400 ppm fast", func(r recordings, x float64) (c, s []lab.Frame) {
		return r.client, lab.Reclocked(head(r.server, x), 5*time.Hour, 400, time.Time{}, 0)
	}},
	{"the server's ends early, each frame twice, a tenth missing", func(r recordings, x float64) (c, s []lab.Frame) {
		return r.client, lab.Thinned(lab.Doubled(head(r.server, x)), uint64(100*x), 0.1)
	}},
	{"a stretch is missing from the server's", func(r recordings, x float64) (c, s []lab.Frame) {
		return r.client, append(slices.Clone(head(r.server, x)), rest(r.server, min(1, x+0.2))...)
	}},
	{"the server's holds what the client sends only", func(r recordings, x float64) (c, s []lab.Frame) {
		from := r.client[len(r.client)-1].Src.Addr()
		return head(r.client, x), slices.DeleteFunc(slices.Clone(r.server), func(f lab.Frame) bool { return f.TCP && f.Src.Addr() != from })
	}},
	{"both begin late", func(r recordings, x float64) (c, s []lab.Frame) {
		c = rest(r.client, x)
		return c, lab.Since(r.server, c[0].At.Add(r.ahead))
	}},
	{"both hold the handshake, and begin late", func(r recordings, x float64) (c, s []lab.Frame) {
		c = rest(r.client, x)
		return sinceHandshake(r.client, c), sinceHandshake(r.server, lab.Since(r.server, c[0].At.Add(r.ahead)))
	}},
}

// sinceHandshake puts a capture's first handshake before what is left of it.
func sinceHandshake(all, left []lab.Frame) (out []lab.Frame) {
	for _, f := range all[:len(all)-len(left)] {
		if f.TCP {
			out = append(out, f)
		}
		if len(out) == 3 {
			break
		}
	}
	return append(out, left...)
}

func head(f []lab.Frame, share float64) []lab.Frame {
	return f[:max(1, int(share*float64(len(f))))]
}

func rest(f []lab.Frame, share float64) []lab.Frame {
	return f[min(len(f)-1, int(share*float64(len(f)))):]
}

func before(f []lab.Frame, at time.Time) []lab.Frame {
	return slices.DeleteFunc(slices.Clone(f), func(x lab.Frame) bool { return x.At.After(at) })
}

// TestCutCapturesGiveNoOtherVerdict lets the captures of every stored set begin
// and end at other moments. Where the death and what proves it is left in both
// the verdict is as before; where it is not it may be weaker, never another one
// that is called sure.
func TestCutCapturesGiveNoOtherVerdict(t *testing.T) {
	inside := 0
	for _, set := range storedSets(t) {
		var err error
		r := recordings{ahead: time.Duration(1e9 * (set.Truth.Clocks[lab.AtServer] - set.Truth.Clocks[lab.AtClient]))}
		if r.client, err = lab.ReadPcap(set.Captures[lab.AtClient]); err != nil {
			t.Fatal(err)
		}
		if r.server, err = lab.ReadPcap(set.Captures[lab.AtServer]); err != nil {
			t.Fatal(err)
		}
		for i, c := range cuts {
			for _, share := range []float64{0.08, 0.25, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95} {
				client, server := c.do(r, share)
				if len(client) > 0 && len(server) > 0 {
					inside += judgeCut(t, set, r, client, server, fmt.Sprintf("%s, %s at %.2f", filepath.Base(set.Dir), c.name, share), i < 6)
				}
			}
		}
	}
	if inside < 20 {
		t.Errorf("%d cuts leave a death inside: too few to say that they change nothing", inside)
	}
}

// judgeCut returns how many connections had to get the verdict that they had.
func judgeCut(t *testing.T, set *lab.Run, r recordings, client, server []lab.Frame, name string, clean bool) (inside int) {
	t.Helper()
	here, there := filepath.Join(t.TempDir(), "client.pcap"), filepath.Join(t.TempDir(), "server.pcap")
	if err := lab.WritePcap(here, client, 65535); err != nil {
		t.Fatal(err)
	}
	if err := lab.WritePcap(there, server, 65535); err != nil {
		t.Fatal(err)
	}
	answer := ask(t, here, there)
	for _, f := range set.Truth.Flows {
		proven := clean && f.Expect.Verdict == "silent-drop" && f.Expect.Confidence == "proven" && deathInside(r, client, server, f.Client)
		if proven {
			inside++
		}
		for i := range answer.Flows {
			got := &answer.Flows[i]
			if got.Client != f.Client || f.Expect.Verdict == "" {
				continue
			}
			v := &got.Verdict
			sure := v.Confidence == "proven" || v.Confidence == "likely"
			switch {
			case proven && (v.ID != f.Expect.Verdict || v.Confidence != f.Expect.Confidence):
				t.Errorf("%s, %s: %+v, want %+v as before: the death lies inside both", name, f.Client, v, f.Expect)
			case v.ID == f.Expect.Verdict || !sure:
			case f.Expect.Verdict == "half-open" && v.ID == "peer-lost-state":
				// It did; that the other end turned its new sessions away is what was cut off.
			case f.Expect.Verdict == "path-cut" && v.ID == "silent-drop":
				// The lost controls are what was cut off: an outage then looks like this.
			case v.ID == "silent-drop" && v.Confidence == "likely" && assumesRecording(got.Verdict.Unknown):
				// A death, and one capture ends with what crossed last: said to be assumed.
			default:
				t.Errorf("%s, %s: %+v, want %+v or less sure (%s)", name, f.Client, v, f.Expect, f.Happened)
			}
		}
	}
	return inside
}

// deathInside reports whether both captures hold all of what was cut off no
// connection but this, its crossings from the handshake on, and two segments at
// least that were lost while the other capture went on for long after.
func deathInside(r recordings, client, server []lab.Frame, name string) bool {
	end := netip.MustParseAddrPort(name)
	type same struct {
		src      netip.AddrPort
		seq, ack uint32
		flags    byte
		length   int
		stamp    uint32
	}
	of := func(f *lab.Frame) same { return same{f.Src, f.Seq, f.Ack, f.Flags, f.Len, f.TSval} }
	collect := func(frames []lab.Frame) (own map[same]bool, others int) {
		own = map[same]bool{}
		for i := range frames {
			switch f := &frames[i]; {
			case f.TCP && (f.Src == end || f.Dst == end):
				own[of(f)] = true
			case f.TCP:
				others++
			}
		}
		return own, others
	}
	atClient, c := collect(r.client)
	atServer, s := collect(r.server)
	leftAtClient, leftC := collect(client)
	leftAtServer, leftS := collect(server)
	if c != leftC || s != leftS {
		return false // what others tell matters, too
	}
	for x := range atClient {
		if atServer[x] && !(leftAtClient[x] && leftAtServer[x]) {
			return false
		}
	}
	const longAfter = 10 * time.Second // than any doubt about the clocks
	lost := 0
	count := func(frames, far []lab.Frame, there map[same]bool, ahead time.Duration) {
		for i := range frames {
			f := &frames[i]
			if f.TCP && (f.Src == end || f.Dst == end) && !there[of(f)] && f.At.Add(ahead+longAfter).Before(far[len(far)-1].At) {
				lost++
			}
		}
	}
	count(client, server, atServer, r.ahead)
	count(server, client, atClient, -r.ahead)
	return lost >= 2
}

// Keepalives go on at one end when the capture at the other has ended: that is no
// silence.
func TestKeepalivesBeyondOneCaptureAreNoSilence(t *testing.T) {
	talk := "delay C 9ms\ndelay S 9ms\n0 C > S SYN seq 99\n+20ms S > C SYN,ACK seq 899 ack 100\n+20ms C > S ACK seq 100 ack 900\n"
	for range 14 {
		talk += "+980ms C > S ACK seq 99 ack 900\n+20ms S > C ACK seq 900 ack 100\n"
	}
	script, err := dialogue.Parse(talk)
	if err != nil {
		t.Fatal(err)
	}
	for _, early := range []string{lab.AtClient, lab.AtServer} {
		dir := t.TempDir()
		var paths []string
		for _, end := range []string{lab.AtClient, lab.AtServer} {
			packets, err := script.Packets(end)
			if err != nil {
				t.Fatal(err)
			}
			if end == early {
				packets = packets[:len(packets)-8]
			}
			var frames []lab.Frame
			for _, p := range packets {
				frames = append(frames, lab.Frame{At: p.At.Time().UTC(), Data: p.Data, Orig: p.Wire})
			}
			paths = append(paths, filepath.Join(dir, end+".pcap"))
			if err := lab.WritePcap(paths[len(paths)-1], frames, 65535); err != nil {
				t.Fatal(err)
			}
		}
		if answer := ask(t, paths...); len(answer.Flows) != 1 || answer.Flows[0].Verdict.ID != "healthy" {
			t.Errorf("the %s's capture ends early: %+v", early, answer.Flows)
		}
	}
}
