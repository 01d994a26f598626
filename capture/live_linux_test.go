package capture

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// alone moves the test's thread into a network namespace of its own with a
// loopback interface; the thread ends with the test.
func alone(t *testing.T) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("LAB") == "require" {
		skip = t.Fatalf
	}
	runtime.LockOSThread() // never unlocked: the thread must not serve others again
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		skip("no network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		skip("ip link set lo up: %v %s", err, out)
	}
}

func TestLiveSeesAConnection(t *testing.T) {
	alone(t)
	l, err := OpenLive(LiveOptions{Interface: "lo"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, err := net.Listen("tcp", "127.0.0.1:7009")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := net.DialTimeout("tcp", "127.0.0.1:7009", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b Batch
	syn, hello := false, false
	for range 50 { // ten seconds at most
		if err := l.Read(&b); err != nil {
			t.Fatal(err)
		}
		for i := range b.N {
			p := &b.Pkts[i]
			if p.Proto != TCP {
				t.Errorf("a packet of protocol %d passed the filter", p.Proto)
			}
			syn = syn || p.Seg.Flags&2 != 0 && p.At > 0
			hello = hello || string(b.Payload(i)) == "hello"
		}
		if syn && hello {
			break
		}
	}
	if !syn || !hello {
		t.Errorf("seen: SYN %v, data %v", syn, hello)
	}
	if f := l.File(); f.TCPFrames == 0 || f.First == 0 || f.Last < f.First {
		t.Errorf("counted %+v", f)
	}
}

func TestLiveNeedsAnInterface(t *testing.T) {
	if _, err := OpenLive(LiveOptions{Interface: "nosuch0"}); err == nil || err.Error() != "nosuch0: no such interface" {
		t.Errorf("error %v", err)
	}
}
