package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns" // ours are named kaflabPID-RUN-ROLE there

// runs numbers the labs of this process.
var runs atomic.Int64

// A netns is a network namespace of ours.
type netns struct{ name string }

// newNetns makes the namespace for one role of a lab.
func newNetns(run int64, role string) (*netns, error) {
	n := &netns{fmt.Sprintf("%s%d-%d-%s", labPrefix, os.Getpid(), run, role)}
	if err := command("ip", "netns", "add", n.name).run(); err != nil {
		return nil, err
	}
	return n, nil
}

// do runs f on a thread that lives in the namespace. What f creates, sockets
// and processes, stays there. The thread ends with f: a goroutine that returns
// while locked takes its thread along.
func (n *netns) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(filepath.Join(netnsDir, n.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("open namespace %s: %w", n.name, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", n.name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// run runs a command in the namespace.
func (n *netns) run(name string, args ...string) error {
	return n.do(command(name, args...).run)
}

// feed runs a command in the namespace with text on its standard input.
func (n *netns) feed(text, name string, args ...string) error {
	c := command(name, args...)
	c.Stdin = strings.NewReader(text)
	return n.do(c.run)
}

// output returns what a command run in the namespace prints.
func (n *netns) output(name string, args ...string) (string, error) {
	c := command(name, args...)
	var out bytes.Buffer
	c.Stdout = &out
	err := n.do(c.run)
	return out.String(), err
}

// sysctl sets kernel parameters of the namespace, given as "net.a.b=value".
func (n *netns) sysctl(settings ...string) error {
	return n.do(func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				return fmt.Errorf("set %s: %w", s, err)
			}
		}
		return nil
	})
}

// remove ends what still runs in the namespace and takes its name away.
func (n *netns) remove() error {
	for range 20 {
		pids, err := command("ip", "netns", "pids", n.name).output()
		if err != nil || strings.TrimSpace(pids) == "" {
			break
		}
		for _, field := range strings.Fields(pids) {
			if pid, err := strconv.Atoi(field); err == nil && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return command("ip", "netns", "delete", n.name).run()
}

// removeStale takes away what labs left whose process is gone: it was killed
// and could not clean up.
func removeStale() {
	for _, dir := range []string{netnsDir, os.TempDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // no namespace was ever made here
		}
		for _, e := range entries {
			if !abandoned(e.Name()) {
				continue
			}
			// What fails here another process may just have done.
			if dir == netnsDir {
				_ = (&netns{e.Name()}).remove()
			} else {
				_ = os.RemoveAll(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// abandoned reports whether a name is one that a lab gave and whose process is
// gone.
func abandoned(name string) bool {
	rest, ours := strings.CutPrefix(name, labPrefix)
	number, _, _ := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(number)
	return ours && err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// A cmd is a command whose error tells what it printed.
type cmd struct{ *exec.Cmd }

func command(name string, args ...string) cmd { return cmd{exec.Command(name, args...)} }

func (c cmd) run() error {
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

func (c cmd) output() (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.run()
	return out.String(), err
}

// socket makes a TCP socket in the namespace; prepare sees it before it is
// bound or connected.
func (n *netns) socket(prepare func(fd int) error) (int, error) {
	fd := -1
	err := n.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		if err = prepare(fd); err != nil {
			unix.Close(fd)
		}
		return err
	})
	return fd, err
}

// listen opens a listening socket in the namespace. A receive buffer of 0
// octets is the system's default.
func (n *netns) listen(at netip.AddrPort, receiveBuffer int) (*net.TCPListener, error) {
	fd, err := n.socket(func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			setBuffer(fd, receiveBuffer),
			unix.Bind(fd, sockaddr(at)),
			unix.Listen(fd, 16),
		)
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", at, err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func setBuffer(fd, octets int) error {
	if octets == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, octets)
}

// dial connects from the namespace. It gives up after patience, and then the
// socket is closed. Keepalive is off on the connection.
func (n *netns) dial(to netip.AddrPort, patience time.Duration) (*net.TCPConn, netip.AddrPort, error) {
	return n.dialFrom(netip.AddrPort{}, to, patience)
}

// dialFrom is dial from an address and port; the zero value takes any.
func (n *netns) dialFrom(from, to netip.AddrPort, patience time.Duration) (*net.TCPConn, netip.AddrPort, error) {
	var local netip.AddrPort
	fd, err := n.socket(func(fd int) error {
		if from.IsValid() {
			if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, sockaddr(from))); err != nil {
				return err
			}
		}
		err := unix.Connect(fd, sockaddr(to))
		if err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		name, err := unix.Getsockname(fd)
		if in4, ok := name.(*unix.SockaddrInet4); ok {
			local = netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
		}
		return err
	})
	if err != nil {
		return nil, local, fmt.Errorf("dial %s: %w", to, err)
	}
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	if err := connected(fd, patience); err != nil {
		return nil, local, fmt.Errorf("dial %s: %w", to, err)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, local, err
	}
	c := conn.(*net.TCPConn)
	return c, local, c.SetKeepAlive(false) // package net turns it on by itself
}

// connected waits for a connection attempt to end.
func connected(fd int, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		switch _, err := unix.Poll(fds, int(left.Milliseconds())+1); {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("poll: %w", err)
		case err != nil || fds[0].Revents == 0:
			continue
		}
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return fmt.Errorf("getsockopt: %w", err)
		}
		if code != 0 {
			return syscall.Errno(code)
		}
		return nil
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// ping sends one ICMP echo request from the namespace. The kernel at the other
// end answers it; who wants to know looks into a capture.
func (n *netns) ping(to netip.Addr) error {
	echo := []byte{8, 0, 0, 0, 'k', 'f', 0, 1} // type, code, checksum, identifier, sequence
	sum := 0
	for i := 0; i < len(echo); i += 2 {
		sum += int(echo[i])<<8 | int(echo[i+1])
	}
	sum = ^(sum&0xffff + sum>>16)
	echo[2], echo[3] = byte(sum>>8), byte(sum)
	return n.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return fmt.Errorf("ICMP socket: %w", err)
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, echo, 0, sockaddr(netip.AddrPortFrom(to, 0)))
	})
}

// counters reads the namespace's TCP counters.
func (n *netns) counters() (Counters, error) {
	values := map[string]int{}
	err := n.do(func() error {
		for _, name := range []string{"netstat", "snmp"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			addCounters(values, string(text))
		}
		return nil
	})
	return Counters{
		KeepaliveProbes: values["TcpExt:TCPKeepAlive"],
		WindowProbes:    values["TcpExt:TCPWinProbe"],
		Timeouts:        values["TcpExt:TCPTimeouts"],
		LossProbes:      values["TcpExt:TCPLossProbes"],
		Retransmissions: values["Tcp:RetransSegs"],
		OutSegs:         values["Tcp:OutSegs"],
		OutRsts:         values["Tcp:OutRsts"],
	}, err
}

// addCounters reads pairs of lines, names above values, as /proc/net/snmp has
// them.
func addCounters(values map[string]int, text string) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, numbers := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := 1; j < len(names) && j < len(numbers); j++ {
			if v, err := strconv.Atoi(numbers[j]); err == nil {
				values[names[0]+names[j]] = v
			}
		}
	}
}
