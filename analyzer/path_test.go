package analyzer

import (
	"strings"
	"testing"
	"time"

	"kaflow/flows"
)

const (
	byClient = flows.Client
	byServer = flows.Server
)

// lived is a connection that survived a silence of so many seconds, ended by a
// side, over so many routers each way.
func lived(seconds int, by uint8, way int8) brief {
	b := brief{way: [2]int8{way, way}, bracket: &IdleBracket{Survived: time.Duration(seconds) * time.Second, RefreshedBy: "unknown"}}
	b.bracket.SurvivedBy[by] = b.bracket.Survived
	return b
}

// died is a connection that a silence killed, which began and ended at the
// given seconds.
func died(from, to int, by uint8, way int8) brief {
	return brief{way: [2]int8{way, way}, from: at(float64(from)), at: at(float64(to)),
		bracket: &IdleBracket{Killed: time.Duration(to-from) * time.Second, Direction: sideName(by), RefreshedBy: "unknown"}}
}

// TestSilencesOfAPath: what connections survived and died of gives a bracket,
// or a contradiction with its likely reason; never a mean.
func TestSilencesOfAPath(t *testing.T) {
	open := died(0, 30, byClient, 3)
	open.bracket.Unsettled = "octets of the client were not acknowledged"
	for _, c := range []struct {
		name                        string
		members                     []brief
		survived, killed, relearned int    // seconds
		note                        string // that the reason must name; "" no contradiction
	}{
		{"one connection", []brief{lived(41, byClient, 3), died(0, 7200, byClient, 3)}, 41, 7200, 0, ""},
		{"the tightest of several", []brief{lived(41, byClient, 3), lived(300, byServer, 3), died(0, 7200, byClient, 3), died(50, 650, byServer, 3)}, 300, 600, 0, ""},
		{"nobody died", []brief{lived(300, byServer, 3)}, 300, 0, 0, ""},
		{"longer silences lived where the server spoke first", []brief{lived(60, byClient, 3), lived(3600, byServer, 3), died(0, 600, byClient, 3), died(50, 950, byClient, 3)},
			60, 600, 3600, "learns a connection anew from the server's side"},
		{"a longer silence lived though the same side spoke first", []brief{lived(3600, byClient, 3), died(0, 600, byClient, 3)}, 3600, 0, 0, "nothing tells why"},
		{"longer silences lived from either side", []brief{lived(3600, byClient, 3), lived(3600, byServer, 3), died(0, 600, byClient, 3)}, 3600, 0, 0, "nothing tells why"},
		{"deaths of both sides", []brief{lived(3600, byServer, 3), died(0, 600, byClient, 3), died(0, 900, byServer, 3)}, 3600, 0, 0, "one moment"},
		{"what died came another way", []brief{lived(60, byClient, 5), lived(3600, byClient, 3), died(0, 600, byClient, 5)}, 60, 600, 0, "several ways"},
		{"what died came another way, and one of its own lived longer", []brief{lived(900, byClient, 5), lived(3600, byClient, 3), died(0, 600, byClient, 5)}, 3600, 0, 0, "nothing tells why"},
		{"several died in one moment", []brief{lived(900, byClient, 3), died(0, 600, byClient, 3), died(300, 620, byClient, 3), died(500, 700, byClient, 3)}, 900, 0, 0, "at once"},
		{"several died one after the other", []brief{lived(900, byClient, 3), died(0, 600, byClient, 3), died(1000, 1620, byClient, 3)}, 900, 0, 0, "nothing tells why"},
		{"one died while its octets waited", []brief{lived(300, byClient, 3), open}, 300, 0, 0, "left out"},
		{"one died while its octets waited, another did not", []brief{lived(300, byClient, 3), open, died(0, 600, byClient, 3)}, 300, 600, 0, ""},
	} {
		p := newPathLimit([2]string{"a", "b"})
		for i := range c.members {
			p.join(&c.members[i])
		}
		got := p.settle()
		l := got.Limit
		if l.Survived != time.Duration(c.survived)*time.Second || l.Killed != time.Duration(c.killed)*time.Second || l.SurvivedRelearned != time.Duration(c.relearned)*time.Second {
			t.Errorf("%s: (%v, %v], relearned %v; want (%d, %d], %d", c.name, l.Survived, l.Killed, l.SurvivedRelearned, c.survived, c.killed, c.relearned)
		}
		if (got.Note == "") != (c.note == "") || !strings.Contains(got.Note, c.note) {
			t.Errorf("%s: note %q, want %q in it", c.name, got.Note, c.note)
		}
		if (len(got.Fits) > 0) != (c.killed > 0) {
			t.Errorf("%s: %d devices fit", c.name, len(got.Fits))
		}
	}
}

// A silence of which only the length is known explains no contradiction.
func TestAPlainSurvivorLeavesNoReason(t *testing.T) {
	p := newPathLimit([2]string{"a", "b"})
	dead := died(0, 600, byClient, 3)
	p.join(&dead)
	p.outlived(3600 * time.Second)
	if got := p.settle(); got.Limit.Killed != 0 || !strings.Contains(got.Note, "nothing tells why") {
		t.Errorf("%+v", got)
	}
}
