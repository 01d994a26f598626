package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// twoEnds is a client (the test's namespace), a server that runs sshd, and a
// stateful firewall between them that forgets what it is told to forget.
type twoEnds struct {
	t            *testing.T
	middle, away *far
	dir          string
}

const awayAddr = "198.51.100.2"

// newTwoEnds builds them. Packets of connections that the firewall does not know
// are dropped.
func newTwoEnds(t *testing.T) *twoEnds {
	t.Helper()
	for _, tool := range []string{"ssh", "sshd", "ssh-keygen", "nft", "conntrack", "tcpdump", "ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("LAB") == "require" {
				t.Fatalf("LAB=require, but there is no %s", tool)
			}
			t.Skipf("no %s here: two ends over ssh are not tested", tool)
		}
	}
	inNamespace(t)
	x := &twoEnds{t: t, middle: newNamespace(t), away: newNamespace(t), dir: open(t)}
	m, s := x.middle, x.away
	m.here(fmt.Sprintf("ip link add c0 type veth peer name m0 netns %d", m.pid))
	m.there(fmt.Sprintf("ip link add m1 type veth peer name s0 netns %d", s.pid))
	m.here("ip address add 192.0.2.1/24 dev c0")
	m.here("ip link set c0 up")
	for _, line := range []string{
		"ip address add 192.0.2.254/24 dev m0", "ip address add 198.51.100.254/24 dev m1", "ip link set m0 up", "ip link set m1 up",
		"sysctl -qw net.ipv4.ip_forward=1",
	} {
		m.there(line)
	}
	m.here("ip route add 198.51.100.0/24 via 192.0.2.254")
	s.there("ip address add " + awayAddr + "/24 dev s0")
	s.there("ip link set lo up")
	s.there("ip link set s0 up")
	s.there("ip route add default via 198.51.100.254")
	rules := filepath.Join(x.dir, "rules.nft")
	if err := os.WriteFile(rules, []byte(`table inet fw {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		tcp flags & (syn | ack | rst | fin) == syn accept
		meta l4proto icmp accept
	}
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	m.there("nft -f " + rules)
	m.there("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0")
	x.startSSHD()
	return x
}

// startSSHD starts an sshd of the test's own, with its own keys, at the server.
func (x *twoEnds) startSSHD() {
	x.t.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // compiled in
		x.t.Fatal(err)
	}
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(x.dir, key)).CombinedOutput(); err != nil {
			x.t.Fatalf("ssh-keygen: %v %s", err, out)
		}
	}
	config := filepath.Join(x.dir, "sshd_config")
	if err := os.WriteFile(config, fmt.Appendf(nil, `Port 22
ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
PidFile none
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
`, awayAddr, filepath.Join(x.dir, "host"), filepath.Join(x.dir, "user.pub")), 0o600); err != nil {
		x.t.Fatal(err)
	}
	path, err := exec.LookPath("sshd") // it insists on an absolute path
	if err != nil {
		x.t.Fatal(err)
	}
	c := exec.Command("nsenter", "-t", fmt.Sprint(x.away.pid), "-n", path, "-D", "-e", "-f", config)
	var log bytes.Buffer
	c.Stderr = &log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL); _ = c.Wait() })
	eventually(x.t, "sshd listens", func() bool {
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(x.away.pid), "-n", "ss", "-Hltn", "sport", "=", ":22").Output()
		return err == nil && len(bytes.TrimSpace(out)) > 0
	})
}

// ssh is a command at the server.
func (x *twoEnds) ssh(command string) *exec.Cmd {
	c := exec.Command("ssh", "-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes",
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-i", filepath.Join(x.dir, "user"), "root@"+awayAddr, command)
	c.Stderr = os.Stderr
	return c
}

// run starts a command at the server and returns what it writes, until it ends. stop
// ends the command itself, not the ssh that carries what it writes and would take
// what is on its way with it.
func (x *twoEnds) run(command string) (out *os.File, stop func()) {
	x.t.Helper()
	path := filepath.Join(x.dir, "pid")
	far := x.ssh(fmt.Sprintf("echo $$ >%s.new && mv %s.new %s && %s", path, path, path, command))
	r, w, err := os.Pipe()
	if err != nil {
		x.t.Fatal(err)
	}
	far.Stdout = w
	if err := far.Start(); err != nil {
		x.t.Fatal(err)
	}
	w.Close()
	x.t.Cleanup(func() { _ = far.Process.Kill(); r.Close() })
	return r, func() {
		x.t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			x.t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGTERM)
		}
		if err != nil {
			x.t.Fatalf("end what runs at the server: %v", err)
		}
		outcome(x.t, far)
	}
}

// forget takes what the firewall knows of connections to a port.
func (x *twoEnds) forget(port int) {
	x.t.Helper()
	x.middle.there(fmt.Sprintf("conntrack -D -p tcp --orig-port-dst %d", port))
}

// conversation opens a connection that will be forgotten and one that lives, and
// uses both.
func (x *twoEnds) conversation(dying, living int) (client string) {
	x.t.Helper()
	for _, port := range []int{dying, living} {
		address := fmt.Sprintf("%s:%d", awayAddr, port)
		x.away.listenOn(address)
		c := x.away.dialTo(address)
		if _, err := c.Write([]byte("hello")); err != nil {
			x.t.Fatal(err)
		}
		if port == dying {
			client = c.LocalAddr().String()
		}
	}
	return client
}

// chatter opens a connection that is never quiet, of which a watch therefore holds
// segments back for as long as it ever does.
func (x *twoEnds) chatter(port int) {
	x.t.Helper()
	address := fmt.Sprintf("%s:%d", awayAddr, port)
	x.away.listenOn(address)
	c := x.away.dialTo(address)
	go func() {
		for tick := time.Tick(400 * time.Millisecond); ; <-tick {
			if _, err := c.Write([]byte("x")); err != nil {
				return // closed with the test
			}
		}
	}()
}

// A firewall forgets a connection; the watches at both ends, the far one through
// ssh and that firewall, show together who killed it, live.
func TestBothEndsLiveOverSSH(t *testing.T) {
	const dying, living, busy = 7001, 7002, 7003
	x := newTwoEnds(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(x.dir, "client.ndjson")
	file, err := os.Create(local)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	near, _ := start(t, file, "watch", "-i", "c0", "--format", "ndjson")
	r, stop := x.run(fmt.Sprintf("exec env %s=1 %s watch -i s0 --format ndjson", actAsKaflow, self))
	both := exec.Command(self, "correlate", "--json", "server=-", "client="+local)
	both.Env = append(os.Environ(), actAsKaflow+"=1")
	both.Stderr = os.Stderr
	in, err := both.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := newFirstWord() // of the far watch
	var told bytes.Buffer   // by it
	go func() {
		_, _ = io.Copy(io.MultiWriter(begun, &told, in), r)
		in.Close()
	}()
	out, err := both.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the near watch records", func() bool {
		text, err := os.ReadFile(local)
		return err == nil && bytes.Contains(text, []byte(`"type":"capture"`))
	})
	if err := both.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = both.Process.Kill() })
	begun.wait(t)
	client := x.conversation(dying, living)
	time.Sleep(2500 * time.Millisecond) // probes cross
	x.chatter(busy)
	forgotten := time.Now()
	x.forget(dying)
	lines := make(chan together, 1000)
	var deaths []string // as they were told, whole
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var l together
			if json.Unmarshal(s.Bytes(), &l) == nil {
				if l.Event == "died" {
					deaths = append(deaths, s.Text())
				}
				lines <- l
			}
		}
	}()
	var died *together
	lost := 0
	limit := time.After(hangGuard)
	for died == nil {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatal("correlate ended before it told a death")
			}
			if l.Event == "probe-lost" && strings.HasSuffix(l.Says, "the client's keepalive probe was lost between client and server") {
				lost++
			}
			if l.Event == "died" {
				died = &l
			}
		case <-limit:
			t.Fatalf("no death was told within %v", hangGuard)
		}
	}
	t.Logf("told %v after the firewall forgot it: %+v", time.Since(forgotten).Round(100*time.Millisecond), died)
	if died.Client != client || died.Server != fmt.Sprintf("%s:%d", awayAddr, dying) || fmt.Sprint(died.Vantages) != "[client server]" {
		t.Errorf("%s → %s died, as %v show; the firewall forgot that of %s", died.Client, died.Server, died.Vantages, client)
	}
	if v := died.Verdict; v == nil || v.ID != "silent-drop" || v.Confidence != "proven" {
		t.Errorf("verdict %+v", v)
	}
	if lost == 0 {
		t.Error("of no probe it was told where it was lost")
	}
	_ = near.Process.Signal(syscall.SIGTERM)
	outcome(t, near)
	stop()
	verdicts := map[string]string{}
	for l := range lines {
		if l.Verdict != nil {
			verdicts[l.Server] = l.Verdict.ID
		}
	}
	if got := outcome(t, both).ExitCode(); got != statusDone {
		t.Errorf("correlate: exit status %d", got)
	}
	if got := verdicts[fmt.Sprintf("%s:%d", awayAddr, living)]; got != "healthy" {
		t.Errorf("the connection that lives: %q, of %v", got, verdicts)
	}
	if t.Failed() {
		t.Logf("deaths as they were told:\n%s", strings.Join(deaths, "\n"))
		near, err := os.ReadFile(local)
		t.Logf("the client's stream:\n%s\nthe server's:\n%s\n%v", near, told.String(), err)
	}
}

// Where the server has tcpdump alone, it records to a pipe, and the capture of
// this end is read when that has ended.
func TestBothEndsOverSSHByTcpdump(t *testing.T) {
	const dying, living = 7001, 7002
	x := newTwoEnds(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(x.dir, "client.pcap")
	near := exec.Command("tcpdump", "-i", "c0", "-n", "-U", "-s", "128", "-Z", "root", "-w", local, "tcp or arp or icmp")
	if err := near.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Process.Kill() })
	// Without the session that carries the capture, which would feed on itself.
	r, stop := x.run(`set -- $SSH_CONNECTION && exec tcpdump -i s0 -n -U -s 128 -Z root -w - "not port $2 and (tcp or arp or icmp)" 2>/dev/null`)
	eventually(t, "the near capture begins", func() bool {
		info, err := os.Stat(local)
		return err == nil && info.Size() >= 24
	})
	both := exec.Command(self, "--json", local, "-")
	both.Env = append(os.Environ(), actAsKaflow+"=1")
	both.Stderr = os.Stderr
	in, err := both.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := newFirstWord() // the header, once the far capture is open
	remote := filepath.Join(x.dir, "server.pcap")
	file, err := os.Create(remote)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	go func() {
		_, _ = io.Copy(io.MultiWriter(begun, file, in), r)
		in.Close()
	}()
	var out bytes.Buffer
	both.Stdout = &out
	if err := both.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = both.Process.Kill() })
	begun.wait(t)
	client := x.conversation(dying, living)
	time.Sleep(2500 * time.Millisecond)
	x.forget(dying)
	var ended time.Time
	eventually(t, "this end gives up", func() bool { // after three probes, a second each
		frames, _ := lab.ReadPcap(local) // its last frame may be cut as yet
		for _, f := range frames {
			if f.Flags&lab.FlagRST != 0 && f.Src.String() == client {
				ended = f.At
			}
		}
		return !ended.IsZero()
	})
	eventually(t, "the far end records beyond that", func() bool { // the other connection's keepalives
		frames, _ := lab.ReadPcap(remote)
		return len(frames) > 0 && frames[len(frames)-1].At.After(ended.Add(time.Second))
	})
	_ = near.Process.Signal(syscall.SIGTERM) // not SIGINT, which stays ignored where tests run in the background
	outcome(t, near)
	stop()
	if got := outcome(t, both).ExitCode(); got != statusDone {
		t.Errorf("kaflow: exit status %d", got)
	}
	var doc struct {
		Flows []struct {
			Client, Server string
			Verdict        struct{ ID, Confidence string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	told := map[string]string{}
	for _, f := range doc.Flows {
		told[f.Client+" "+f.Server] = f.Verdict.ID + " " + f.Verdict.Confidence
	}
	if got := told[fmt.Sprintf("%s %s:%d", client, awayAddr, dying)]; got != "silent-drop proven" {
		t.Errorf("the forgotten connection: %q, of %v", got, told)
	}
}
