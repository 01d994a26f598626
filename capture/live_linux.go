package capture

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gopacket/gopacket/afpacket"
	"golang.org/x/sys/unix"

	"kaflow/tcp"
)

// Live captures from interfaces through a ring that it shares with the kernel
// (TPACKET_V3). It is a Source that never ends by itself: a Read without packets
// means that time has passed. It serves one goroutine.
//
// There is one ring, bound to no interface, and a filter by the kernel's
// interface numbers: packets of all interfaces come in the kernel's order, and
// an interface that goes away and comes back needs a new filter, for which no
// right is asked, and no new socket, for which it is.
type Live struct {
	tally
	name    string
	o       LiveOptions
	ring    *afpacket.TPacket
	control int // a socket to ask about interfaces
	promisc int // a socket whose memberships make interfaces promiscuous; -1: none
	any     bool
	devs    []device
	byIndex map[int]int // the kernel's number → place in devs
	looked  tcp.Instant
	away    bool // some interface is down or gone

	awaySince tcp.Instant // last packet before that; 0: none is away
	dec       decoder
	buf       []byte
}

// Measures of the ring: 16 MiB, in blocks that are handed over when full or
// after blockWait.
const (
	ringBlock  = 512 << 10
	ringBlocks = 32
	blockWait  = 50 * time.Millisecond
	liveWait   = 200 * time.Millisecond // Read returns after this long without packets
	lookEvery  = time.Second            // between two looks at the state of interfaces
)

// maxNamed bounds the interfaces that are named: the filter's jumps reach no
// further.
const maxNamed = 200

// OpenLive starts to capture. It fails with a RightsError where the system does
// not allow it.
func OpenLive(o LiveOptions) (*Live, error) {
	if o.SnapLen == 0 {
		o.SnapLen = defaultSnap
	}
	l := &Live{name: strings.Join(o.Interfaces, ","), o: o, control: -1, promisc: -1, byIndex: map[int]int{}}
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Live) open() (err error) {
	if l.control, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return &fileError{l.name, err}
	}
	if l.any = len(l.o.Interfaces) == 1 && l.o.Interfaces[0] == "any"; !l.any {
		if len(l.o.Interfaces) > maxNamed {
			return &fileError{l.name, fmt.Errorf("more than %d interfaces; any captures on all", maxNamed)}
		}
		for i, name := range l.o.Interfaces {
			d, err := l.ask(name)
			if err != nil {
				return &fileError{name, err}
			}
			d.number = uint32(i)
			l.devs, l.byIndex[d.index] = append(l.devs, d), i
		}
	}
	l.ring, err = afpacket.NewTPacket(
		afpacket.OptFrameSize(2048), afpacket.OptBlockSize(ringBlock), afpacket.OptNumBlocks(ringBlocks),
		afpacket.OptPollTimeout(liveWait), afpacket.OptBlockTimeout(blockWait),
		afpacket.OptAddVLANHeader(true), afpacket.SocketRaw, afpacket.TPacketVersion3)
	if errors.Is(err, os.ErrPermission) {
		return &RightsError{l.name, err}
	}
	if err == nil {
		err = l.filter()
	}
	if err == nil && l.o.Promiscuous {
		err = l.promiscuous()
	}
	if err != nil {
		return &fileError{l.name, err}
	}
	l.look()
	return nil
}

// Read implements Source. It returns what has come in, up to a full batch, or
// an empty batch after a fifth of a second in which nothing came. Hole follows
// hole while an interface is away.
func (l *Live) Read(b *Batch) error {
	b.N, b.Sorted, b.Holes, b.Start, l.buf = 0, 0, nil, 0, l.buf[:0]
	before, looked := l.last, l.looked
	for b.N < BatchSize {
		data, info, err := l.ring.ZeroCopyReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			break
		}
		if errors.Is(err, afpacket.ErrPoll) { // an interface went down
			l.look()
			break
		}
		if err != nil {
			return &fileError{l.name, err}
		}
		l.taken++
		d := l.device(info.InterfaceIndex)
		if d == nil {
			continue // came between the socket and its filter
		}
		l.take(b, data, max(info.Length, len(data)), tcp.Instant(info.Timestamp.UnixNano()), d)
		if b.N > 0 && l.last.Sub(b.Pkts[0].At) > liveWait {
			break
		}
	}
	b.Buf = l.buf
	if b.N == 0 || l.last.Sub(l.looked) >= lookEvery {
		l.looked = l.last
		l.look()
	}
	l.noteAway(b, before, looked)
	l.countDrops(b, before)
	return nil
}

// take decodes one frame into the batch.
func (l *Live) take(b *Batch, data []byte, wire int, at tcp.Instant, d *device) {
	p := &b.Pkts[b.N]
	*p = Packet{}
	p.At, p.Ord, p.Iface = at, l.ord+1, d.number
	base := len(l.buf)
	l.buf = append(l.buf, data...)
	frame := Frame{Link: d.link, Wire: uint32(wire), Data: l.buf[base:len(l.buf):len(l.buf)], Base: uint32(base)}
	if l.o.Rewrite != nil {
		l.o.Rewrite(&frame)
	}
	l.dec.frame(frame.Link, frame.Base, frame.Data, frame.Wire, p)
	if p.Proto == TCP && l.o.Filter != nil && !l.o.Filter.Matches(d.link, data) {
		l.buf = l.buf[:base]
		return
	}
	l.ord++
	if l.first == 0 {
		l.first = at
	}
	l.last = max(l.last, at)
	if p.Proto == TCP {
		l.tcp++
	}
	if l.o.Each != nil {
		l.o.Each(p, frame)
	}
	b.N++
}

// noteAway notes as a hole what passed while an interface was away: from the
// packets before the last look at which it was there to the first ones behind, or,
// while others bring packets, as far as these have come.
func (l *Live) noteAway(b *Batch, before, looked tcp.Instant) {
	if l.away && l.awaySince == 0 {
		if l.awaySince = before; looked != 0 {
			l.awaySince = min(before, looked)
		}
	}
	if l.awaySince == 0 || b.N == 0 {
		return
	}
	h := Interval{From: l.awaySince, To: b.Pkts[0].At, Why: WhyInterface}
	if l.awaySince = 0; l.away {
		h.To, l.awaySince = l.last, l.last
	}
	b.Holes = append(b.Holes, h)
}

// countDrops notes what the kernel had no room for as a hole: from the packets
// before it was noticed to the first ones that were captured after that. What
// lies in the ring meanwhile may be from before the drops or from between them,
// so the hole goes along with it.
func (l *Live) countDrops(b *Batch, before tcp.Instant) {
	if l.lossSince != 0 {
		l.noteLoss(b)
	}
	_, stats, err := l.ring.SocketStats()
	if err != nil || uint64(stats.Drops()) <= l.dropped {
		return
	}
	l.dropped = uint64(stats.Drops())
	if l.lossSince == 0 {
		l.lossSince = max(before, 1)
	}
	l.lossUntil = 0
	if l.o.Now != nil {
		l.lossUntil = l.o.Now()
	}
	if l.lossUntil > 0 {
		l.noteLoss(b)
	}
}

// Abandon counts what the ring still holds as dropped: nobody will read it.
func (l *Live) Abandon() {
	_, stats, err := l.ring.SocketStats()
	if err != nil {
		return
	}
	l.dropped = uint64(stats.Drops())
	if held := uint64(stats.Packets()) - l.dropped; held > l.taken { // the kernel counts dropped ones among its packets
		l.dropped += held - l.taken
	}
}

// noteLoss adds to the batch the part of a hole that its packets reach. An empty
// batch means that the ring is empty.
func (l *Live) noteLoss(b *Batch) {
	h := Interval{From: l.lossSince, To: l.lossUntil, Why: WhyDropped}
	switch {
	case b.N == 0 && l.lossUntil == 0:
		return // until something comes
	case b.N == 0:
	case l.lossUntil == 0 || l.last >= l.lossUntil:
		for i := range b.N {
			if h.To = b.Pkts[i].At; h.To >= l.lossUntil {
				break
			}
		}
	default:
		h.To = l.last
		b.Holes = append(b.Holes, h)
		l.lossSince = l.last
		return
	}
	b.Holes = append(b.Holes, h)
	l.lossSince, l.lossUntil = 0, 0
}

// Close ends the capture.
func (l *Live) Close() error {
	if l.ring != nil {
		l.ring.Close()
	}
	for _, fd := range []*int{&l.control, &l.promisc} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	return nil
}
