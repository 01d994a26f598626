package lab

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const sshPort = 22

// startSSHD starts an sshd of the lab's own, with its own keys, in the server's
// namespace.
func (s *stage) startSSHD(keepalive bool) error {
	// The privilege separation directory is compiled in.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return err
	}
	for _, key := range []string{"host", "user"} {
		if _, err := os.Stat(filepath.Join(s.tmp, key)); err == nil {
			continue // it starts again
		}
		if err := command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", filepath.Join(s.tmp, key)).run(); err != nil {
			return err
		}
	}
	config := fmt.Sprintf(`Port %d
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
PrintLastLog no
TCPKeepAlive %s
`, sshPort, s.serverAt, filepath.Join(s.tmp, "host"), filepath.Join(s.tmp, "user.pub"), yesNo(keepalive))
	if a := s.time.ClientAlive; a.Interval > 0 {
		config += fmt.Sprintf("ClientAliveInterval %d\nClientAliveCountMax %d\n", a.Interval/time.Second, a.Count)
		s.beats(AtServer, a)
	}
	file := filepath.Join(s.tmp, "sshd_config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	path, err := exec.LookPath("sshd") // sshd insists on an absolute path
	if err != nil {
		return err
	}
	c := exec.Command(path, "-D", "-e", "-f", file)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(s.tmp, "sshd.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stderr = log
	if err := s.server.do(c.Start); err != nil {
		return fmt.Errorf("start sshd: %w", err)
	}
	s.sshd = c
	s.later(func() { kill(c) })
	if err := s.until("sshd listens", func() bool {
		text, err := s.server.output("ss", "-Hltn", "sport", "=", fmt.Sprintf(":%d", sshPort))
		return err == nil && strings.TrimSpace(text) != ""
	}); err != nil {
		return fmt.Errorf("%w: %s", err, complaints(log.Name()))
	}
	return nil
}

// beats notes an end's own heartbeats.
func (s *stage) beats(at string, a Alive) {
	end := s.truth.Ends[at]
	end.Alive = &Beats{a.Interval.Seconds(), a.Count}
	s.truth.Ends[at] = end
}

// complaints returns what a program wrote to its log.
func complaints(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// A session is an ssh login that runs cat: what is typed comes back.
type session struct {
	stage *stage
	proc  *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	log   string // file with what ssh complained about
	local netip.AddrPort
}

// login opens a session and waits until it echoes.
func (s *stage) login(keepalive bool) (*session, error) {
	alive := s.time.ServerAlive
	if alive.Interval > 0 {
		s.beats(AtClient, alive)
	}
	c := exec.Command("ssh", "-F", "none",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes",
		"-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "TCPKeepAlive="+yesNo(keepalive),
		"-o", fmt.Sprintf("ServerAliveInterval=%d", alive.Interval/time.Second), "-o", fmt.Sprintf("ServerAliveCountMax=%d", max(1, alive.Count)),
		"-i", filepath.Join(s.tmp, "user"), "-p", strconv.Itoa(int(s.service.Port())), "root@"+s.service.Addr().String(), "cat")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x := &session{stage: s, proc: c, log: filepath.Join(s.tmp, "ssh.log")}
	log, err := os.Create(x.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.Stderr = log
	if x.in, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	x.out = bufio.NewReader(out)
	if err := s.client.do(c.Start); err != nil {
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	s.later(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	if err := x.echo("hello"); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	x.local, err = s.localPort(int(s.service.Port()))
	s.note("the ssh session is open")
	return x, err
}

// localPort returns the client's end of its one established connection to a
// port of the server.
func (s *stage) localPort(port int) (netip.AddrPort, error) {
	text, err := s.client.output("ss", "-Htn", "state", "established", "dport", "=", fmt.Sprintf(":%d", port))
	if err != nil {
		return netip.AddrPort{}, err
	}
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return netip.AddrPort{}, fmt.Errorf("one connection to port %d expected, ss says %q", port, text)
	}
	return netip.ParseAddrPort(fields[2])
}

// echo types a line and waits until it has come back.
func (x *session) echo(line string) error {
	if _, err := fmt.Fprintln(x.in, line); err != nil {
		return fmt.Errorf("type %q: %w", line, err)
	}
	back, err := x.out.ReadString('\n')
	if err != nil || strings.TrimSpace(back) != line {
		return fmt.Errorf("typed %q, got %q: %w: %s", line, back, err, complaints(x.log))
	}
	return nil
}

// work types two lines with a pause between them, then leaves the session
// idle.
func (x *session) work(pause time.Duration) error {
	s := x.stage
	if err := x.echo("uptime"); err != nil {
		return err
	}
	s.typed = time.Now()
	s.note("a pause while the session is in use")
	if err := s.sleep(pause); err != nil {
		return err
	}
	if err := x.echo("last line before the silence"); err != nil {
		return err
	}
	// The last acknowledgment is still on its way.
	if err := s.sleep(100 * time.Millisecond); err != nil {
		return err
	}
	s.idleSince = time.Now()
	s.note(fallsSilent)
	return nil
}

// leeway is how long a busy machine may take to do what is due.
const leeway = 10 * time.Second

// waitDeath waits until ssh has ended by itself.
func (x *session) waitDeath(patience time.Duration) error {
	ended := make(chan struct{})
	go func() {
		_ = x.proc.Wait() // it ends with an error when its connection died
		close(ended)
	}()
	select {
	case <-ended:
		x.stage.note("ssh gives up: " + complaints(x.log))
		return nil
	case <-time.After(patience + leeway):
		return fmt.Errorf("ssh lives %s after the silence began", patience)
	case <-x.stage.ctx.Done():
		return x.stage.ctx.Err()
	}
}

// logout closes the session as a user does.
func (x *session) logout() error {
	if err := x.in.Close(); err != nil {
		return err
	}
	return x.waitDeath(10 * time.Second)
}

// flow describes the session's connection.
func (x *session) flow(happened string, expect Expect) Flow {
	return Flow{
		Client:      x.local.String(),
		Server:      netip.AddrPortFrom(x.stage.serverAt, sshPort).String(),
		Application: "ssh", Happened: happened, Expect: expect,
	}
}
