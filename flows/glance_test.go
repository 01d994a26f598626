package flows_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/dialogue"
	"kaflow/tcp"
)

// briefs draws a few short connections on the same ports, one after the other.
func briefs(t *rapid.T) (out []capture.Packet) {
	for range rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "connections") {
		out = brief(t, out)
	}
	return out
}

// brief draws a short connection as most are, and appends it to others: nothing is lost,
// few pause for long, and mostly both ends close it, or one ends it with a RST.
func brief(t *rapid.T, out []capture.Packet) []capture.Packet {
	at, client := tcp.Instant(1_700_000_000e9), rapid.IntRange(0, 1).Draw(t, "client")
	if len(out) > 0 {
		at = out[len(out)-1].At
	}
	way, ways := uint16(0), rapid.SampledFrom([][]uint16{{0}, {0}, {7}, {7, 7, 7, 7, 7, 7, 7, 7, 7, 8}}).Draw(t, "ways")
	notes := rapid.SampledFrom([]capture.Note{0, 0, capture.NoteBadIPSum, capture.NoteCut}).Draw(t, "notes")
	next := [2]tcp.Seq{tcp.Seq(rapid.Uint32().Draw(t, "isn lo")), tcp.Seq(rapid.Uint32().Draw(t, "isn hi"))}
	told := next // what each has acknowledged
	stamped := [2]bool{rapid.Bool().Draw(t, "lo stamps"), rapid.Bool().Draw(t, "hi stamps")}
	stamp := [2]uint32{rapid.Uint32().Draw(t, "stamp lo"), rapid.Uint32().Draw(t, "stamp hi")}
	send := func(d int, flags tcp.Flags, n uint32) {
		pause := rapid.SampledFrom([]int64{0, 1e3, 1e6, 3e8, 999_999_999}).Draw(t, "pause")
		if rapid.IntRange(0, 25).Draw(t, "a gap") == 0 {
			pause = rapid.SampledFrom([]int64{1e9, 5e9, 5e9, 75e9}).Draw(t, "of")
		}
		at += tcp.Instant(pause)
		p := capture.Packet{At: at, Ord: tcp.Ordinal(len(out) + 1), Proto: capture.TCP, Reversed: d == 1}
		p.Key = capture.Key{Lo: capture.V4Words(0xc0000201), Hi: capture.V4Words(0xc6336402), Ports: 40000<<16 | 22}
		p.Seg = tcp.Segment{Seq: next[d], Len: n, Flags: flags, Win: 500, IPID: uint16(len(out)), TTL: 64}
		way = rapid.SampledFrom(ways).Draw(t, "way")
		p.Way, p.Note = way, notes
		if flags.Has(tcp.RST) && rapid.Bool().Draw(t, "shut") {
			p.Seg.Win = 0
		}
		if flags.Has(tcp.ACK) {
			told[d] = next[1-d]
			p.Seg.Ack = told[d]
		}
		if flags.Has(tcp.SYN) {
			p.Seg.MSS, p.Seg.Opts, p.Seg.WScale, p.Seg.OptHash = 1460, tcp.OptMSS|tcp.OptWScale, 7, 4711
		}
		if p.Seg.Len > 0 && rapid.Bool().Draw(t, "captured") {
			p.DataLen = n
		}
		if stamped[d] && rapid.IntRange(0, 9).Draw(t, "stamps") > 0 {
			stamp[d] += rapid.Uint32Range(0, 3).Draw(t, "ticks")
			p.Seg.Opts, p.Seg.TSVal, p.Seg.TSEcr = p.Seg.Opts|tcp.OptTimestamps, stamp[d], stamp[1-d]
		}
		next[d] = p.Seg.End()
		p.Settle()
		out = append(out, p)
	}
	send(client, tcp.SYN, 0)
	send(1-client, tcp.SYN|tcp.ACK, 0)
	send(client, tcp.ACK, 0)
	closed := [2]bool{}
	for range rapid.SampledFrom([]int{0, 2, 4, 8, 12, 16, 26, 30, 40}).Draw(t, "turns") {
		d := rapid.IntRange(0, 1).Draw(t, "who")
		switch what := rapid.IntRange(0, 13).Draw(t, "what"); {
		case what == 0 && !closed[d]:
			send(d, tcp.FIN|tcp.ACK, rapid.SampledFrom([]uint32{0, 0, 40, 700}).Draw(t, "octets with it"))
			closed[d] = true
		case what == 7 && rapid.IntRange(0, 3).Draw(t, "breaks off") == 0:
			send(d, rapid.SampledFrom([]tcp.Flags{tcp.RST, tcp.RST | tcp.ACK}).Draw(t, "how"), 0)
			if rapid.IntRange(0, 3).Draw(t, "goes on") > 0 {
				return out
			}
		case (what < 6 || what > 9) && !closed[d]:
			send(d, tcp.ACK|tcp.PSH, rapid.SampledFrom([]uint32{1, 40, 700, 1448, 1448}).Draw(t, "octets"))
		case what == 6: // behind its own FIN, too, which no stack does
			send(d, tcp.ACK|tcp.PSH, 40)
		case told[d] != next[1-d]:
			send(d, tcp.ACK, 0)
		}
	}
	for d := range 2 {
		if !closed[d] && rapid.IntRange(0, 9).Draw(t, "closes") > 0 {
			send(d, tcp.FIN|tcp.ACK, 0)
		}
	}
	for d := range 2 {
		if told[d] != next[1-d] && rapid.IntRange(0, 9).Draw(t, "acknowledges") > 0 {
			send(d, tcp.ACK, 0)
		}
	}
	return out
}

// TestGlancesOfTheYoungAreThoseOfTheGrown: a glance at a flow that was put down
// only tells what the long way would have made of it, and so does the view.
func TestGlancesOfTheYoungAreThoseOfTheGrown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pkts := briefs(t)
		short, long := shortAndLong(pkts, len(pkts), false)
		var got, want []flows.Glance
		for g := range short.Glances() {
			got = append(got, *g)
		}
		for g := range long.Glances() {
			want = append(want, *g)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("glances (-grown +young):\n%s", diff)
		}
		var carried [2]uint64 // by end; neither SYN nor FIN is an octet
		plain := true         // one connection, by one way, of which nothing is sent behind a RST
		for i := range pkts {
			end := 0
			if pkts[i].Reversed {
				end = 1
			}
			carried[end] += uint64(pkts[i].Seg.Len)
			plain = plain && pkts[i].Seg.Flags&tcp.RST == 0 && pkts[i].Way == pkts[0].Way && (i == 0 || pkts[i].Seg.Flags != tcp.SYN)
		}
		if g := &got[0]; len(got) == 1 && plain {
			if g.ClientHi {
				carried[0], carried[1] = carried[1], carried[0]
			}
			if g.Octets != carried {
				t.Fatalf("%v octets, want %v", g.Octets, carried)
			}
		}
		sameStory(t, short, long)
	})
}

// A SYN that nobody answered, and one that was turned down, are told from all that looks like them.
func TestGlanceTellsUnansweredSYNs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool // unanswered; refused, where the name says so
	}{
		{"a SYN", "0 C > S SYN seq 99", true},
		{"a SYN, sent again", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+2s C > S SYN seq 99", true},
		{"refused", "0 C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 100", false},
		{"refused when sent again", "0 C > S SYN seq 99\n+1s C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 100", false},
		{"a RST of another number", "0 C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 101", false},
		{"a RST that acknowledges nothing", "0 C > S SYN seq 99\n+1ms S > C RST seq 0", false},
		{"two RSTs", "0 C > S SYN seq 99\n+1ms S > C RST,ACK seq 0 ack 100\n+1s S > C RST,ACK seq 0 ack 100", false},
		{"answered and left there", "0 C > S SYN seq 99\n+1ms S > C SYN,ACK seq 899 ack 100", false},
		{"a SYN with data", "0 C > S SYN seq 99 data \"hello\"", false},
		{"taken back", "0 C > S SYN seq 99\n+1ms C > S RST seq 100", false},
		{"an answer alone", "0 S > C SYN,ACK seq 899 ack 100", false},
		{"no SYN", "0 C > S ACK seq 99 ack 900", false},
	} {
		s, err := dialogue.Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		source, err := s.Source("", capture.BatchSize)
		if err != nil {
			t.Fatal(err)
		}
		var table flows.Table
		var b capture.Batch
		for source.Read(&b) != io.EOF {
			table.Add(&b)
		}
		n := 0
		for g := range table.Glances() {
			if n++; g.Unanswered != c.want {
				t.Errorf("%s: unanswered is %v", c.name, g.Unanswered)
			}
			if g.Refused != strings.HasPrefix(c.name, "refused") {
				t.Errorf("%s: refused is %v", c.name, g.Refused)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d flows", c.name, n)
		}
	}
}
