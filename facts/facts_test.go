package facts_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/facts"
)

var update = flag.Bool("update", false, "add new ids to testdata/ids.txt")

// variable is a template variable that was left in a line.
var variable = regexp.MustCompile(`\{[A-Z_]+\}`)

const s = time.Second

// rows returns "table/id" and the backing of every row of the tables.
func rows() (ids []string, backings []facts.Backing) {
	add := func(table, id string, b facts.Backing) {
		ids, backings = append(ids, table+"/"+id), append(backings, b)
	}
	for _, d := range facts.Defaults() {
		add("defaults", d.ID, d.Backing)
	}
	for _, t := range facts.Timeouts() {
		add("timeouts", t.ID, t.Backing)
	}
	for _, h := range facts.Heartbeats() {
		add("heartbeats", h.ID, h.Backing)
	}
	for _, r := range facts.Remedies() {
		add("remedies", r.ID, r.Backing)
	}
	for _, c := range facts.Closers() {
		add("closers", c.ID, c.Backing)
	}
	for _, l := range facts.Logs() {
		add("logs", l.ID, l.Backing)
	}
	return ids, backings
}

// Users filter on ids: one that was published never goes away.
func TestIDsAreUniqueAndStable(t *testing.T) {
	ids, _ := rows()
	golden := filepath.Join("testdata", "ids.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(ids, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Fields(string(text)), ids); diff != "" {
		t.Errorf("ids differ from testdata/ids.txt (-update adds new ones; removing one breaks users):\n%s", diff)
	}
	slices.Sort(ids)
	if unique := slices.Compact(slices.Clone(ids)); len(unique) != len(ids) {
		t.Errorf("%d ids, %d of them different", len(ids), len(unique))
	}
	for _, id := range ids {
		if !regexp.MustCompile(`^[a-z]+/[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(id) {
			t.Errorf("%s is not kebab-case", id)
		}
	}
}

func TestEveryRowNamesItsSources(t *testing.T) {
	ids, backings := rows()
	for i, b := range backings {
		if len(b.Sources) == 0 {
			t.Errorf("%s has no source", ids[i])
		}
		for _, source := range b.Sources {
			if source.Title == "" || source.Address == "" {
				t.Errorf("%s has the source %+v", ids[i], source)
			}
		}
	}
}

func TestRowsNobodyCheckedAreShaky(t *testing.T) {
	for _, c := range []struct {
		name string
		b    facts.Backing
		want bool
	}{
		{"vendor page read", facts.Backing{Confidence: facts.Documented, Checked: true}, false},
		{"vendor page not reopened", facts.Backing{Confidence: facts.Documented}, true},
		{"many say so, one was read", facts.Backing{Confidence: facts.WidelyReported, Checked: true}, false},
		{"guess", facts.Backing{Confidence: facts.Guess, Checked: true}, true},
		{"nothing known", facts.Backing{}, true},
	} {
		if got := c.b.Shaky(); got != c.want {
			t.Errorf("%s: Shaky() = %v, want %v", c.name, got, c.want)
		}
	}
	for id, want := range map[string]bool{"linux": false, "freebsd": false, "android": true, "netbsd": true, "vxworks": true} {
		if d, ok := facts.DefaultByID(id); !ok || d.Shaky() != want {
			t.Errorf("%s: found %v, Shaky() = %v, want %v", id, ok, d.Shaky(), want)
		}
	}
}

// A row of numbers must add up to its detection time.
func TestDetectionTimesAddUp(t *testing.T) {
	for _, d := range facts.Defaults() {
		if d.Payload || d.Idle == 0 || d.Interval == 0 || d.Count == 0 {
			continue
		}
		if got := facts.Detection(d.Idle, d.Interval, d.Count); got != d.Detection {
			t.Errorf("%s: %v by its numbers, %v in the table", d.ID, got, d.Detection)
		}
	}
}

func TestRemediesThatRowsNameExist(t *testing.T) {
	for _, d := range facts.Defaults() {
		for _, id := range d.Remedies {
			if r, ok := facts.RemedyByID(id); !ok || r.Side != facts.Endpoint {
				t.Errorf("default %s names the remedy %s: found %v, side %q", d.ID, id, ok, r.Side)
			}
		}
	}
	for _, timeout := range facts.Timeouts() {
		for _, id := range timeout.Remedies {
			if r, ok := facts.RemedyByID(id); !ok || r.Side != facts.Middlebox {
				t.Errorf("timeout %s names the remedy %s: found %v, side %q", timeout.ID, id, ok, r.Side)
			}
		}
	}
}

func TestDefaultsThatWordsMean(t *testing.T) {
	for word, want := range map[string][]string{
		"linux":      {"linux"},
		"Windows":    {"windows-9x", "windows-2000-xp-2003", "windows-vista-plus"},
		"macos":      {"macos-ios"},
		"solaris":    {"solaris-10", "solaris-11"},
		"cisco-ios":  {"cisco-ios"},
		"openssh":    {"openssh-client", "openssh-server"},
		"PostgreSQL": {"postgresql-server", "postgresql-libpq"},
		"libuv":      nil,
		" ":          nil,
	} {
		var got []string
		for _, d := range facts.FindDefaults(word) {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("FindDefaults(%q):\n%s", word, diff)
		}
	}
}

func TestDevicesBetweenTwoSilences(t *testing.T) {
	for _, c := range []struct {
		name             string
		survived, killed time.Duration
		ports            []int
		want             []string
	}{
		{"cloud limits", 240 * s, 350 * s, nil, []string{
			"SonicWall 300", "AWS Global Accelerator 340", "AWS NLB 350", "AWS GWLB 350", "AWS NAT gateway 350",
			"AWS security group (Nitro v6) 350", "AWS PrivateLink 350", "AWS Network Firewall 350"}},
		{"a timer for one port, on that port", 240 * s, 300 * s, []int{80}, []string{"SRX (http) 300", "SonicWall 300"}},
		{"the survived silence itself is out, the killing one in", 3600 * s, 7440 * s, nil,
			[]string{"OpenWrt 7440", "VPP det44 7440", "RFC 5382 minimum 7440", "Jool NAT64 7440"}},
		{"one second short of the limit", 3600 * s, 7439 * s, nil, nil},
		{"two pf profiles with one value", 80000 * s, 86400 * s, nil,
			[]string{"kube-proxy 86400", "Cisco IOS NAT 86400", "JUNOSe NAT 86400", "pf 86400", "MikroTik 86400"}},
		{"the wrong way round", 600 * s, 300 * s, nil, nil},
	} {
		var got []string
		for _, d := range facts.TimeoutsBetween(c.survived, c.killed, c.ports...) {
			got = append(got, fmt.Sprintf("%s %d", d.Label(), d.Idle/s))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestHeartbeatsByContent(t *testing.T) {
	for _, c := range []struct {
		name, id string
		payload  string
		ports    []uint16
		want     bool
	}{
		{"MQTT ping on its port", "mqtt-pingreq", "\xc0\x00", []uint16{51234, 1883}, true},
		{"the same two octets elsewhere", "mqtt-pingreq", "\xc0\x00", []uint16{51234, 4444}, false},
		{"BGP keepalive on any port", "bgp-keepalive", strings.Repeat("\xff", 16) + "\x00\x13\x04", nil, true},
		{"BGP update of the same length class", "bgp-keepalive", strings.Repeat("\xff", 16) + "\x00\x17\x02\x00\x00\x00\x00", nil, false},
		{"FIX heartbeat", "fix-heartbeat", "8=FIX.4.4\x019=55\x0135=0\x0149=A\x01", nil, true},
		{"FIX order", "fix-heartbeat", "8=FIX.4.4\x019=55\x0135=D\x0149=A\x01", nil, false},
		{"ssh, encrypted", "openssh-serveralive", strings.Repeat("x", 52), []uint16{22}, false},
		{"empty payload", "redis-ping", "", []uint16{6379}, false},
	} {
		h, ok := facts.HeartbeatByID(c.id)
		if !ok {
			t.Fatalf("no heartbeat %s", c.id)
		}
		if got := h.Matches([]byte(c.payload), len(c.payload), c.ports...); got != c.want {
			t.Errorf("%s: Matches = %v, want %v", c.name, got, c.want)
		}
	}
	redis, _ := facts.HeartbeatByID("redis-ping")
	if !redis.MatchesAnswer([]byte("+PONG\r\n"), 7) {
		t.Error("+PONG is no answer to PING")
	}
}

// An answer must follow the request: where both signatures are equal, and the
// lengths too, nothing tells them apart.
func TestHeartbeatSignaturesHaveTheLengthTheyClaim(t *testing.T) {
	for _, h := range facts.Heartbeats() {
		for _, prefix := range h.Prefixes {
			if h.Lens != nil && len(prefix) > slices.Max(h.Lens) {
				t.Errorf("%s: a signature of %d octets in payloads of %v", h.ID, len(prefix), h.Lens)
			}
		}
		for _, prefix := range h.AnswerPrefixes {
			if h.AnswerLens != nil && len(prefix) > slices.Max(h.AnswerLens) {
				t.Errorf("%s: an answer of %d octets in payloads of %v", h.ID, len(prefix), h.AnswerLens)
			}
		}
	}
}

// The tables are data: the package must do nothing when a program starts.
func TestNoWorkAtStartUp(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Skipf("cannot run the test program again: %v", err)
	}
	cmd := exec.Command(program, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "init ") {
		t.Fatalf("no trace of initialisation:\n%s", out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "init kaflow/facts ") {
			t.Errorf("package facts initialises at start-up: %s", line)
		}
	}
}

// Of SMB2's messages of 72 octets ECHO alone is a heartbeat: TREE_DISCONNECT and LOGOFF are
// what a client sends when it has had enough.
func TestOfSMB2ECHOAloneIsAHeartbeat(t *testing.T) {
	for command, want := range map[byte]bool{0x0d: true, 0x02: false, 0x04: false} {
		message := make([]byte, 72)
		copy(message, "\x00\x00\x00\x44\xfeSMB\x40\x00\x01\x00")
		message[16] = command
		h, ok := facts.HeartbeatIn(message, len(message), 50000, 445)
		if ok != want || ok && h.ID != "smb2-echo" {
			t.Errorf("command %d: %v %q, want %v", command, ok, h.ID, want)
		}
	}
}
