package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A relay joins two interfaces of its namespace and delays every frame, which
// this kernel's queueing disciplines cannot do. Frames are held in order.
type relay struct {
	ends    [2]*os.File // towards the router, towards the server
	delay   time.Duration
	drop    atomic.Pointer[func(*Frame) bool] // asked for every TCP frame
	dropped atomic.Int64
	work    sync.WaitGroup
}

// held is a frame and when it is due.
type held struct {
	due  time.Time
	data []byte
}

// newRelay starts a relay between two interfaces of a namespace.
func newRelay(n *netns, router, server string, delay time.Duration) (*relay, error) {
	r := &relay{delay: delay}
	for i, dev := range []string{router, server} {
		file, err := packetSocket(n, dev)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("relay: %w", err)
		}
		r.ends[i] = file
	}
	r.carry(r.ends[0], r.ends[1])
	r.carry(r.ends[1], r.ends[0])
	return r, nil
}

// packetSocket opens a socket that sees and sends whole frames on a device,
// and does not see what it sent itself.
func packetSocket(n *netns, dev string) (*os.File, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // network byte order
	var file *os.File
	err := n.do(func() error {
		iface, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		file = os.NewFile(uintptr(fd), dev)
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index}),
		)
	})
	return file, err
}

// carry moves frames in one direction until the relay is closed.
func (r *relay) carry(from, to *os.File) {
	queue := make(chan held, 4096)
	r.work.Add(2)
	go func() {
		defer r.work.Done()
		defer close(queue)
		buf := make([]byte, 65536)
		for {
			n, err := from.Read(buf)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil || r.drops(buf[:n]) {
				continue // ENETDOWN and the like pass
			}
			queue <- held{time.Now().Add(r.delay), append([]byte(nil), buf[:n]...)}
		}
	}()
	go func() {
		defer r.work.Done()
		for h := range queue {
			time.Sleep(time.Until(h.due))
			if _, err := to.Write(h.data); err != nil && r.tcp(h.data) != nil {
				r.dropped.Add(1) // a closed relay, a full device or one that is down loses frames, as a link does
			}
		}
	}()
}

// drops asks the drop function about a frame and counts.
func (r *relay) drops(data []byte) bool {
	ask := r.drop.Load()
	if ask == nil {
		return false
	}
	f := r.tcp(data)
	if f == nil || !(*ask)(f) {
		return false
	}
	r.dropped.Add(1)
	return true
}

// tcp decodes a frame; nil where it is none of TCP.
func (r *relay) tcp(data []byte) *Frame {
	f := Frame{Data: data, Orig: len(data)}
	if f.decode(); f.TCP {
		return &f
	}
	return nil
}

// dropTCP makes the relay lose the TCP frames that ask says yes to; nil ends
// that. ask runs in the relay's goroutines.
func (r *relay) dropTCP(ask func(*Frame) bool) {
	if ask == nil {
		r.drop.Store(nil)
		return
	}
	r.drop.Store(&ask)
}

// close ends the relay and waits for it.
func (r *relay) close() {
	for _, f := range r.ends {
		if f != nil {
			f.Close()
		}
	}
	r.work.Wait()
}
