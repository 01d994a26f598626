package capture

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kaflow/tcp"
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

// patience is how often a test reads in vain, a fifth of a second each time,
// before it takes what does not come for lost.
const patience = 300

func TestLiveSeesAConnection(t *testing.T) {
	alone(t)
	l, err := OpenLive(LiveOptions{Interfaces: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, err := net.Listen("tcp", "127.0.0.1:7009")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := net.DialTimeout("tcp", "127.0.0.1:7009", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b Batch
	syn, hello := false, false
	for range patience {
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
	if _, err := OpenLive(LiveOptions{Interfaces: []string{"nosuch0"}}); err == nil || err.Error() != "nosuch0: no such interface" {
		t.Errorf("error %v", err)
	}
}

// tun makes a TUN device, whose frames are bare IP packets.
func tun(t *testing.T, name string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no TUN devices: %v", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		t.Skipf("no TUN devices: %v", err)
	}
	return os.NewFile(uintptr(fd), name)
}

func must(t *testing.T, line string) {
	t.Helper()
	fields := strings.Fields(line)
	if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", line, err, out)
	}
}

// readFor reads until n TCP packets came, and returns them with the holes
// before them.
func readFor(t *testing.T, l *Live, n int) (pkts []Packet, holes []Interval) {
	t.Helper()
	var b Batch
	for range patience {
		if err := l.Read(&b); err != nil {
			t.Fatal(err)
		}
		holes = append(holes, b.Holes...)
		for i := range b.N {
			if b.Pkts[i].Proto == TCP {
				pkts = append(pkts, b.Pkts[i])
			}
		}
		if len(pkts) >= n {
			break
		}
	}
	return pkts, holes
}

// call tries to connect, in vain or not.
func call(address string) {
	conn, err := net.DialTimeout("tcp", address, 700*time.Millisecond) // one SYN, on a busy machine too
	if err == nil {
		conn.Close()
	}
}

// Every interface has a link type of its own: on any, each frame is read by
// that of the one it came from, and what passes a loopback is seen once.
func TestLiveAnyReadsEachInterfaceByItsLinkType(t *testing.T) {
	alone(t)
	defer tun(t, "bare0").Close()
	must(t, "ip address add 192.0.2.1/24 dev bare0")
	must(t, "ip link set bare0 up")
	for _, on := range [][]string{{"any"}, {"bare0", "lo"}} {
		l, err := OpenLive(LiveOptions{Interfaces: on})
		if err != nil {
			t.Fatal(err)
		}
		call("192.0.2.9:22")   // a SYN into the TUN device
		call("127.0.0.1:7010") // a SYN and its RST
		pkts, _ := readFor(t, l, 3)
		var links []string
		syns := map[string]int{}
		for i := range pkts {
			if p := &pkts[i]; p.Seg.Flags&tcp.SYN != 0 {
				syns[l.InterfaceName(p.Iface)]++
			}
		}
		links = l.File().LinkTypes
		l.Close()
		if syns["bare0"] != 1 || syns["lo"] != 1 || len(pkts) != 3 {
			t.Errorf("on %v: SYNs by interface %v of %d packets, want one each of 3", on, syns, len(pkts))
		}
		if slices.Sort(links); !slices.Equal(links, []string{"ETHERNET(1)", "RAW(101)"}) {
			t.Errorf("on %v: link types %v", on, links)
		}
	}
}

// An interface that is deleted and made again goes on in the same capture, with
// numbers that go on, and what passed meanwhile is a hole.
func TestLiveOutlivesItsInterface(t *testing.T) {
	alone(t)
	make0 := func() {
		must(t, "ip link add here0 type veth peer name there0")
		must(t, "ip address add 192.0.2.1/24 dev here0")
		must(t, "ip link set here0 up")
		must(t, "ip link set there0 up")
		must(t, "ip neighbour replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev here0")
	}
	make0()
	l, err := OpenLive(LiveOptions{Interfaces: []string{"here0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	call("192.0.2.9:22")
	first, holes := readFor(t, l, 1)
	if len(first) == 0 || len(holes) != 0 {
		t.Fatalf("%d packets and holes %v before anything happened", len(first), holes)
	}
	must(t, "ip link del here0")
	var b Batch
	for range patience {
		if err := l.Read(&b); err != nil {
			t.Fatal(err)
		}
		if len(l.Away()) > 0 {
			break
		}
	}
	if away := l.Away(); !slices.Equal(away, []string{"here0"}) {
		t.Fatalf("away: %v", away)
	}
	make0()
	for range patience {
		if err := l.Read(&b); err != nil {
			t.Fatal(err)
		}
		if len(l.Away()) == 0 {
			break
		}
	}
	call("192.0.2.9:23")
	again, holes := readFor(t, l, 1)
	if len(again) == 0 {
		t.Fatal("nothing came after the interface was back")
	}
	if again[0].Ord <= first[len(first)-1].Ord {
		t.Errorf("numbers begin again: %d after %d", again[0].Ord, first[len(first)-1].Ord)
	}
	if len(holes) != 1 || holes[0].Why != WhyInterface || holes[0].From > holes[0].To || holes[0].From < first[0].At || holes[0].To > again[0].At {
		t.Errorf("holes %+v between packets of %v and %v", holes, first[0].At, again[0].At)
	}
}

// An interface that is found to be away while others bring packets may have gone
// right after the last look.
func TestLiveHoleBeginsAtTheLastLook(t *testing.T) {
	const began = tcp.Instant(1_700_000_000e9)
	l := &Live{away: true}
	b := &Batch{N: 1}
	b.Pkts[0].At = began.Add(time.Second)
	l.last = b.Pkts[0].At
	l.noteAway(b, began.Add(990*time.Millisecond), began)
	if len(b.Holes) != 1 || b.Holes[0].From != began || b.Holes[0].To != l.last {
		t.Errorf("%+v", b.Holes)
	}
}
