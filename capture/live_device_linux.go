package capture

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ask returns what the kernel says of an interface.
func (l *Live) ask(name string) (device, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(l.control, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		return device{}, errors.New("no such interface")
	}
	d := device{name: name, index: int(request.Uint32())}
	if request, err = unix.NewIfreq(name); err == nil {
		err = unix.IoctlIfreq(l.control, unix.SIOCGIFFLAGS, request)
	}
	if err != nil {
		return device{}, errors.New("no such interface")
	}
	d.up = request.Uint16()&unix.IFF_UP != 0
	if request, err = unix.NewIfreq(name); err == nil {
		err = unix.IoctlIfreq(l.control, unix.SIOCGIFHWADDR, request)
	}
	if err != nil {
		return device{}, errors.New("no such interface")
	}
	d.link, err = linkOf(request.Uint16())
	return d, err
}

// LiveLink returns the LINKTYPE_ number that frames of an interface have.
func LiveLink(name string) (uint32, error) {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, &fileError{name, err}
	}
	defer unix.Close(control)
	l := Live{control: control}
	d, err := l.ask(name)
	if err != nil {
		return 0, &fileError{name, err}
	}
	return d.link, nil
}

// linkOf returns the link type of frames on interfaces of a kind, which is the
// family of their hardware address (linux/if_arp.h). Interfaces that have no
// link header hand over IP packets.
func linkOf(kind uint16) (uint32, error) {
	switch kind {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return linkEthernet, nil
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP, unix.ARPHRD_PPP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT:
		return linkRaw, nil
	}
	return 0, fmt.Errorf("interfaces of kind %d are not supported; capture with tcpdump -w - and kaflow watch -r -", kind)
}

// unsupportedLink is a link type that nothing decodes: frames of it are counted.
const unsupportedLink = 0xffff

// maxDevices bounds the interfaces that are told apart on "any"; containers
// make new ones all day.
const maxDevices = 4096

// device returns the interface with the kernel's number, nil where it is none of
// those asked for. On "any" it is looked up when its first packet comes.
func (l *Live) device(index int) *device {
	if i, known := l.byIndex[index]; known {
		return &l.devs[i]
	}
	if !l.any {
		return nil
	}
	if len(l.devs) >= maxDevices {
		l.devs, l.byIndex = l.devs[:0], map[int]int{}
	}
	d := device{name: fmt.Sprintf("interface %d", index), link: unsupportedLink}
	if request, err := unix.NewIfreq(""); err == nil {
		request.SetUint32(uint32(index))
		if unix.IoctlIfreq(l.control, unix.SIOCGIFNAME, request) == nil {
			d.name = request.Name()
			if known, err := l.ask(d.name); err == nil {
				d = known
			}
		}
	}
	d.index, d.up, d.number = index, true, uint32(index)
	l.byIndex[index] = len(l.devs)
	l.devs = append(l.devs, d)
	return &l.devs[len(l.devs)-1]
}

// look finds out which interfaces are up, and follows those that came back
// under another number.
func (l *Live) look() {
	if l.any {
		return
	}
	moved := false
	l.away = false
	for i := range l.devs {
		d := &l.devs[i]
		now, err := l.ask(d.name)
		if err != nil {
			now = device{link: d.link}
		}
		moved = moved || now.index != d.index
		d.index, d.link, d.up = now.index, now.link, now.up
		l.away = l.away || !d.up
	}
	if !moved {
		return
	}
	clear(l.byIndex)
	for i := range l.devs {
		if l.devs[i].index != 0 {
			l.byIndex[l.devs[i].index] = i
		}
	}
	if err := l.filter(); err != nil { // tried again at the next look
		for i := range l.devs {
			l.devs[i].index = 0
		}
	}
	if l.promisc >= 0 {
		_ = l.join() // an interface that does not come back promiscuous still shows its own traffic
	}
}

// promiscuous asks all interfaces for what is not addressed to this host.
func (l *Live) promiscuous() (err error) {
	if l.any {
		return errors.New("promiscuous mode needs the names of interfaces")
	}
	if l.promisc, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	return l.join()
}

func (l *Live) join() error {
	for i := range l.devs {
		if l.devs[i].index == 0 {
			continue
		}
		m := unix.PacketMreq{Ifindex: int32(l.devs[i].index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(l.promisc, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return err
		}
	}
	return nil
}

// filter gives the kernel the coarse filter for the interfaces as they are now.
func (l *Live) filter() error {
	var indexes []uint32
	for i := range l.devs {
		if l.devs[i].index != 0 {
			indexes = append(indexes, uint32(l.devs[i].index))
		}
	}
	if l.any {
		indexes = nil
	} else if len(indexes) == 0 {
		indexes = []uint32{0} // none is there: nothing passes
	}
	program, err := bpf.Assemble(coarse(indexes, uint32(l.o.SnapLen)))
	if err != nil {
		return err
	}
	return l.ring.SetBPF(program)
}

// Where the kernel's filter finds what is no part of a frame, and its network
// header (linux/filter.h). x/net has no name for the kind of an interface.
const (
	extHardware   = bpf.Extension(28)
	networkHeader = uint32(0xfff00000) // SKF_NET_OFF, that is -0x100000
)

// coarse is the filter that the kernel applies, whatever the link: of some
// interfaces (nil: all), TCP, ICMP, ARP, neighbour discovery and fragments are
// kept up to snap octets, tagged or not, and what carries other packets
// (tunnels) is not. On a loopback every packet passes twice, out and in; the
// first is left out.
func coarse(indexes []uint32, snap uint32) []bpf.Instruction {
	keep, drop := bpf.RetConstant{Val: snap}, bpf.RetConstant{Val: 0}
	var code []bpf.Instruction
	if indexes != nil {
		code = append(code, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex})
		for i, index := range slices.Backward(indexes) {
			code = slices.Insert(code, 1, bpf.Instruction(bpf.JumpIf{Cond: bpf.JumpEqual, Val: index, SkipTrue: uint8(len(indexes) - i)}))
		}
		code = append(code, drop)
	}
	const outgoing = 4 // PACKET_OUTGOING
	return append(code,
		bpf.LoadExtension{Num: extHardware},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ARPHRD_LOOPBACK, SkipFalse: 3},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: outgoing, SkipFalse: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv4, SkipFalse: 4},
		bpf.LoadAbsolute{Off: networkHeader + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 13},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 12}, // ICMP
		drop,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherIPv6, SkipFalse: 6},
		bpf.LoadAbsolute{Off: networkHeader + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 58, SkipTrue: 7}, // ICMPv6
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 44, SkipTrue: 6}, // a fragment
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 5},  // hop-by-hop options
		drop,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherARP, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherVLAN, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherQinQ, SkipTrue: 1},
		drop,
		keep,
	)
}
