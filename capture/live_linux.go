package capture

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gopacket/gopacket/afpacket"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"kaflow/tcp"
)

// Live captures from an interface through a ring that it shares with the
// kernel (TPACKET_V3). It is a Source that never ends by itself: a Read without
// packets means that time has passed. It serves one goroutine.
type Live struct {
	tally
	name string
	link uint32
	ring *afpacket.TPacket
	dec  decoder
	buf  []byte
	each func(*Packet, Frame)
}

// Measures of the ring: 4 MiB, in blocks that are handed over when full or
// after blockWait.
const (
	ringBlock  = 256 << 10
	ringBlocks = 16
	blockWait  = 50 * time.Millisecond
	liveWait   = 200 * time.Millisecond // Read returns after this long without packets
)

// OpenLive starts to capture. It fails with a RightsError where the system does
// not allow it.
func OpenLive(o LiveOptions) (*Live, error) {
	if o.SnapLen == 0 {
		o.SnapLen = defaultSnap
	}
	link, err := linkOf(o.Interface)
	if err != nil {
		return nil, err
	}
	options := []any{
		afpacket.OptFrameSize(2048), afpacket.OptBlockSize(ringBlock), afpacket.OptNumBlocks(ringBlocks),
		afpacket.OptPollTimeout(liveWait), afpacket.OptBlockTimeout(blockWait),
		afpacket.OptAddVLANHeader(true), afpacket.SocketRaw, afpacket.TPacketVersion3,
	}
	if o.Interface != "any" {
		options = append(options, afpacket.OptInterface(o.Interface))
	}
	ring, err := afpacket.NewTPacket(options...)
	if errors.Is(err, os.ErrPermission) {
		return nil, &RightsError{o.Interface, err}
	}
	if err != nil {
		return nil, &fileError{o.Interface, err}
	}
	l := &Live{name: o.Interface, link: link, ring: ring, each: o.Each}
	filter, err := bpf.Assemble(coarse(link, uint32(o.SnapLen)))
	if err == nil {
		err = ring.SetBPF(filter)
	}
	if err == nil && o.Promiscuous {
		err = ring.SetPromiscuous(true)
	}
	if err != nil {
		ring.Close()
		return nil, &fileError{o.Interface, err}
	}
	return l, nil
}

// LiveLink returns the LINKTYPE_ number that frames of an interface have.
func LiveLink(name string) (uint32, error) { return linkOf(name) }

// linkOf returns the link type of an interface by the number that the kernel
// gives it.
func linkOf(name string) (uint32, error) {
	if name == "any" {
		return linkEthernet, nil
	}
	const ethernet, loopback, none = 1, 772, 65534
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, &fileError{name, err}
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request)
	}
	if err != nil {
		return 0, &fileError{name, errors.New("no such interface")}
	}
	switch kind := request.Uint16(); kind { // the family of a hardware address
	case ethernet, loopback:
		return linkEthernet, nil
	case none:
		return linkRaw, nil
	default:
		return 0, &fileError{name, fmt.Errorf("interfaces of kind %d are not supported; capture with tcpdump -w - and kaflow watch -r -", kind)}
	}
}

// coarse is the filter that the kernel applies: TCP, ICMP, ARP, neighbour
// discovery and fragments, tagged or not, are kept up to snap octets; what
// carries other packets (tunnels) is not.
func coarse(link, snap uint32) []bpf.Instruction {
	keep, drop := bpf.RetConstant{Val: snap}, bpf.RetConstant{Val: 0}
	if link != linkEthernet {
		return []bpf.Instruction{keep}
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv4, SkipFalse: 4},
		bpf.LoadAbsolute{Off: 23, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 12},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 11}, // ICMP
		drop,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv6, SkipFalse: 6},
		bpf.LoadAbsolute{Off: 20, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 58, SkipTrue: 6}, // ICMPv6
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 44, SkipTrue: 5}, // a fragment
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 4},  // hop-by-hop options
		drop,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherARP, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherVLAN, SkipTrue: 1},
		drop,
		keep,
	}
}

// Read implements Source. It returns what has come in, up to a full batch, or
// an empty batch after a fifth of a second in which nothing came. An error says
// that the interface is gone.
func (l *Live) Read(b *Batch) error {
	b.N, b.Holes, b.Start, l.buf = 0, nil, 0, l.buf[:0]
	before := l.last
	for b.N < BatchSize {
		data, info, err := l.ring.ZeroCopyReadPacketData()
		if errors.Is(err, afpacket.ErrTimeout) {
			break
		}
		if err != nil {
			return &fileError{l.name, err}
		}
		at := tcp.Instant(info.Timestamp.UnixNano())
		base := len(l.buf)
		l.buf = append(l.buf, data...)
		l.ord++
		p := &b.Pkts[b.N]
		*p = Packet{}
		p.At, p.Ord = at, l.ord
		if l.first == 0 {
			l.first = at
		}
		l.last = max(l.last, at)
		l.dec.frame(l.link, uint32(base), l.buf[base:len(l.buf):len(l.buf)], uint32(max(info.Length, len(data))), p)
		if p.Proto == TCP {
			l.tcp++
		}
		if l.each != nil {
			l.each(p, Frame{Link: l.link, Wire: uint32(max(info.Length, len(data))), Data: l.buf[base:len(l.buf):len(l.buf)], Base: uint32(base)})
		}
		b.N++
		if at.Sub(b.Pkts[0].At) > liveWait {
			break
		}
	}
	b.Buf = l.buf
	l.countDrops(b, before)
	return nil
}

// countDrops notes what the kernel had no room for as a hole: from the packets
// before it was noticed to the first ones behind.
func (l *Live) countDrops(b *Batch, before tcp.Instant) {
	if l.lossSince != 0 && b.N > 0 {
		b.Holes = append(b.Holes, Interval{From: l.lossSince, To: b.Pkts[0].At, Why: WhyDropped})
		l.lossSince = 0
	}
	_, stats, err := l.ring.SocketStats()
	if err != nil || uint64(stats.Drops()) <= l.dropped {
		return
	}
	l.dropped = uint64(stats.Drops())
	if l.lossSince == 0 {
		l.lossSince = max(before, 1)
	}
}

// Close ends the capture.
func (l *Live) Close() error {
	l.ring.Close()
	return nil
}
