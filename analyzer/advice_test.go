package analyzer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"kaflow/facts"
	"kaflow/flows"
	"kaflow/pairing"
)

func addr(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

// end is one end of a connection to give advice on.
type end struct {
	ttl        uint8
	timestamps bool
	resembles  []string
}

// advised returns the remedies of a connection that died between two
// silences.
func advised(port uint16, application string, survived, killed time.Duration, ends [2]end) (*Diagnosis, []Remedy) {
	f := &flows.Flow{}
	d := &Diagnosis{
		Verdict: Verdict{ID: SilentDrop, Cause: "idle-expiry"}, Application: application,
		Idle: IdleBracket{Survived: survived, Killed: killed},
	}
	for side, e := range ends {
		f.Sides[side].TTL, f.Sides[side].Timestamps = e.ttl, e.timestamps
		if e.resembles != nil {
			d.Policies = append(d.Policies, Policy{End: uint8(side), Resembles: e.resembles})
		}
	}
	f.Sides[flows.Server].Addr = addr("198.51.100.2", port)
	s := &Subject{Pair: &pairing.Pair{Seen: []pairing.Sighting{{Flow: f}}}, flow: f}
	return d, remedies(s, d)
}

func TestLinesForTheSystemsSeen(t *testing.T) {
	linux, windows, unknown := end{ttl: 64, timestamps: true}, end{ttl: 128}, end{ttl: 255}
	for _, c := range []struct {
		name             string
		port             uint16
		application      string
		survived, killed time.Duration
		ends             [2]end
		want             []string // system, where
	}{
		{"ssh between two Linux hosts", 22, "ssh", 41 * time.Second, 7200 * time.Second, [2]end{linux, linux},
			[]string{"OpenSSH client, client", "OpenSSH sshd, server", "Linux, client", "firewall or NAT, device between"}},
		{"a Windows client of a PostgreSQL server", 5432, "postgresql", 100 * time.Second, 1000 * time.Second, [2]end{windows, linux},
			[]string{"PostgreSQL, application", "Windows, client", "Linux, server", "firewall or NAT, device between"}},
		{"by its keepalives rather than by its TTL", 4711, "", 100 * time.Second, 1000 * time.Second, [2]end{{ttl: 64, resembles: []string{"lwIP", "FreeBSD"}}, unknown},
			[]string{"FreeBSD, client", "firewall or NAT, device between"}},
		{"nothing known of the ends", 4711, "", 100 * time.Second, 1000 * time.Second, [2]end{unknown, unknown},
			[]string{"either end, client", "firewall or NAT, device between"}},
		{"one device fits", 4711, "", 1000 * time.Second, 1200 * time.Second, [2]end{linux, linux},
			[]string{"Linux, client", "Google Cloud NAT, device between"}},
		{"no room for a keepalive", 22, "ssh", 2 * time.Second, 3 * time.Second, [2]end{linux, linux}, []string{"firewall or NAT, device between"}},
	} {
		var got []string
		_, out := advised(c.port, c.application, c.survived, c.killed, c.ends)
		for _, m := range out {
			got = append(got, m.System+", "+m.Where)
			for _, l := range slices.Concat(m.Lines, m.Persistent) {
				if strings.ContainsAny(l, "{}") && !strings.Contains(l, "};") {
					t.Errorf("%s: %s: a variable is left in %q", c.name, m.System, l)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCaveatsThatDecideWhetherAChangeHelps(t *testing.T) {
	d, out := advised(22, "ssh", 41*time.Second, 7200*time.Second, [2]end{{ttl: 64, timestamps: true}, {}})
	all := slices.Clone(d.Caveats)
	for _, m := range out {
		all = append(all, m.Caveats...)
	}
	for _, want := range []string{
		"reconnect after the change", "through a glitch", "SO_KEEPALIVE", "TCPKeepAlive alone waits", "(5 + 1) × 20 = 120 s (2 min), not 5 × 20 = 100 s", "RFC 5382",
	} {
		if !slices.ContainsFunc(all, func(c string) bool { return strings.Contains(c, want) }) {
			t.Errorf("no caveat says %q: %q", want, all)
		}
	}
}

// Whoever raises a device's timeout to what is advised has room for the
// silence that killed, and satisfies RFC 5382.
func TestTimeoutsAdvisedForDevices(t *testing.T) {
	for _, killed := range []time.Duration{time.Second, 240 * time.Second, 7202 * time.Second, 86400 * time.Second} {
		if got := longEnough(killed); got < 2*killed-time.Minute || got < rfcMinimum {
			t.Errorf("killed at %v: %v", killed, got)
		}
	}
}

func TestWhoClosedItIsNamedByItsSetting(t *testing.T) {
	f := &flows.Flow{}
	f.Sides[flows.Server].Addr = addr("198.51.100.2", 3306)
	s := &Subject{Pair: &pairing.Pair{Seen: []pairing.Sighting{{Flow: f}}}, flow: f}
	d := &Diagnosis{Verdict: Verdict{ID: IdleClose, Silence: 28800 * time.Second}, Endings: [2]flows.Ending{flows.EndOpen, flows.EndFIN}}
	out := remedies(s, d)
	if len(out) != 1 || out[0].System != "MySQL / MariaDB wait_timeout" || out[0].Where != "server" || len(out[0].Lines) == 0 {
		t.Errorf("a database that closes after eight hours: %+v", out)
	}
	if _, ok := facts.CloserByID("mysql-wait-timeout"); !ok {
		t.Error("the table has lost its row")
	}
}
