package pairing

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/dialogue"
	"kaflow/tcp"
)

// pointsOf reads both captures of a conversation through the flow table.
func pointsOf(t *testing.T, text string) []Point {
	t.Helper()
	script, err := dialogue.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var points []Point
	for _, name := range []string{dialogue.Client, dialogue.Server} {
		source, err := script.Source(name, capture.BatchSize)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, pointOf(t, name+".pcap", source))
	}
	return points
}

// pointOf reads one capture to its end.
func pointOf(t testing.TB, name string, source capture.Source) Point {
	t.Helper()
	p := Point{Name: name, Table: &flows.Table{}, Frame: func(o tcp.Ordinal) (int, uint64) { return 0, uint64(o) }}
	var batch capture.Batch
	var last tcp.Instant
	for {
		err := source.Read(&batch)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.N {
			last = max(last, batch.Pkts[i].At)
		}
		p.Table.Add(&batch)
	}
	p.Table.Advance(last)
	return p
}

const login = `
delay C 20ms
delay S 20ms
hops 2
clock server +3s

0      C > S  SYN      seq 99  mss 1460 sackok ts 1000 0 wscale 7
+20ms  S > C  SYN,ACK  seq 899 ack 100 mss 1460 sackok ts 7000 1000 wscale 7
+20ms  C > S  ACK      seq 100 ack 900 ts 1040 7000
+1ms   C > S  ACK,PSH  seq 100 ack 900 len 40 ts 1041 7000
+21ms  S > C  ACK      seq 900 ack 140 ts 7042 1041
+1ms   S > C  ACK,PSH  seq 900 ack 140 len 60 ts 7043 1041
+21ms  C > S  ACK      seq 140 ack 960 ts 1083 7043
`

func TestTwoCapturesOfOneDialogue(t *testing.T) {
	points := pointsOf(t, login+`
+7200s  C > S  ACK  seq 139 ack 960 ts 7201083 7043 lost
+130ms  S > C  ACK  seq 959 ack 140 ts 7207213 1083 lost
+75s    C > S  ACK  seq 139 ack 960 ts 7276083 7043 lost
+130ms  S > C  ACK  seq 959 ack 140 ts 7282213 1083 lost
+75s    C > S  ACK  seq 139 ack 960 ts 7351083 7043 lost
+130ms  S > C  ACK  seq 959 ack 140 ts 7357213 1083 lost
+75s    C > S  RST,ACK seq 140 ack 960 ts 7426083 7043 lost
+130ms  S > C  RST,ACK seq 960 ack 140 ts 7432213 1083 lost
`)
	r := Match(points, Options{})
	p := only(t, r)
	if p.Method != byISN || len(p.Seen) != 2 || p.Seen[0].Vantage != 0 {
		t.Fatalf("method %q, seen %+v", p.Method, p.Seen)
	}
	// What follows the handshake is one run, begun by the client.
	want := tally{"syn crossed": 1, "data crossed": 1, "keepalive-probe lost": 3, "rst lost (assumed)": 1}
	if d := cmp.Diff(want, tallyOf(fatesBetween(p, flows.Client, 0, 1))); d != "" {
		t.Errorf("what the client sent (-want +got):\n%s", d)
	}
	want = tally{"syn-ack crossed": 1, "keepalive-probe lost": 3, "rst lost (assumed)": 1}
	if d := cmp.Diff(want, tallyOf(fatesBetween(p, flows.Server, 1, 0))); d != "" {
		t.Errorf("what the server sent (-want +got):\n%s", d)
	}
	c := r.Between(0, 1)[0]
	if c.Min > 3e9 || c.Max < 3e9 || c.Max-c.Min > 45e6 {
		t.Errorf("the server's clock is 3 s ahead; bounds [%v, %v]", c.Min, c.Max)
	}
}

func TestAnsweredProbesFoldIntoRunsThatArePairedAsRuns(t *testing.T) {
	text := login
	for range 40 {
		text += "+75s  C > S ACK seq 139 ack 960 ts 7201083 7043\n+21ms S > C ACK seq 960 ack 140 ts 7207213 1083\n"
	}
	r := Match(pointsOf(t, text), Options{})
	p := only(t, r)
	probes := 0
	for _, f := range fatesBetween(p, flows.Client, 0, 1) {
		if f.How != Crossed {
			t.Errorf("%+v", f)
		}
		if f.Sent.Kind == flows.KeepaliveProbe {
			probes += f.Count
		}
	}
	if probes != 40 {
		t.Errorf("%d probes crossed, want 40", probes)
	}
	for _, f := range fatesBetween(p, flows.Server, 1, 0) {
		if f.How != Crossed {
			t.Errorf("%+v", f)
		}
	}
}

func TestOneProbeLostWithinAnsweredOnes(t *testing.T) {
	text := login
	for n := range 30 {
		if n == 14 {
			text += "+75s  C > S ACK seq 139 ack 960 ts 7201083 7043 lost\n+21ms S > C UDP len 20\n"
			continue
		}
		text += "+75s  C > S ACK seq 139 ack 960 ts 7201083 7043\n+21ms S > C ACK seq 960 ack 140 ts 7207213 1083\n"
	}
	p := only(t, Match(pointsOf(t, text), Options{}))
	lost := 0
	for _, f := range p.Fates {
		if f.How == Lost {
			lost++
		}
		if f.How == Lost && (f.Assumed || f.Sent.Kind != flows.KeepaliveProbe) || f.How == Unknowable {
			t.Errorf("%+v", f)
		}
	}
	if lost != 1 {
		t.Errorf("%d lost, want 1", lost)
	}
}
