package capture

import (
	"fmt"

	"golang.org/x/net/bpf"

	"kaflow/tcp"
)

// LiveOptions say what is captured. The zero value of SnapLen is 256 octets:
// headers, and the first words of an application.
type LiveOptions struct {
	Interfaces  []string // names, or "any" alone
	SnapLen     int
	Promiscuous bool
	Rewrite     func(*Frame)         // called for every frame before it is decoded, as that of Options is
	Each        func(*Packet, Frame) // called for every frame that is read; nil costs nothing
	Now         func() tcp.Instant   // the time by the kernel's clock: until when drops may have happened that were just counted; nil: until the next packet
	Filter      *Filter              // which TCP frames are wanted beyond what the kernel's coarse filter leaves; nil: all
}

// defaultSnap is enough for headers under tags and tunnels.
const defaultSnap = 256

// RightsError says that the system does not let this program capture.
type RightsError struct {
	Interface string
	Err       error
}

func (e *RightsError) Error() string {
	return "capture on " + shown(e.Interface) + ": " + e.Err.Error()
}

func (e *RightsError) Unwrap() error { return e.Err }

// tally is what a live capture counted.
type tally struct {
	ord     tcp.Ordinal
	first   tcp.Instant
	last    tcp.Instant
	tcp     uint64
	dropped uint64
	taken   uint64 // packets read off the ring, wanted or not

	lossSince tcp.Instant // packets were dropped after this one; 0: none since the last hole
	lossUntil tcp.Instant // and before this time: what comes from the ring before that may lie on either side of them
}

// device is an interface that is captured on.
type device struct {
	name   string
	index  int // the kernel's number; 0 while it is away
	link   uint32
	number uint32 // Packet.Iface of its packets
	up     bool
}

// Dropped returns how many packets the kernel had no room for, so far.
func (l *Live) Dropped() uint64 { return l.dropped }

// Away returns the interfaces that are down or gone.
func (l *Live) Away() (names []string) {
	for i := range l.devs {
		if !l.devs[i].up {
			names = append(names, l.devs[i].name)
		}
	}
	return names
}

// File describes what was captured so far, as if it lay in a file.
func (l *Live) File() File {
	f := File{
		Path: tcp.Untrusted(l.name), Format: "live", Frames: uint64(l.ord), TCPFrames: l.tcp,
		First: l.first, Last: l.last, Undecoded: l.dec.undecoded, Drops: l.dropped, DropsKnown: true, Unfiltered: l.o.Filter == nil,
	}
	seen := map[uint32]bool{}
	for i := range l.devs {
		d := &l.devs[i]
		if !seen[d.link] {
			seen[d.link] = true
			f.LinkTypes = append(f.LinkTypes, linkName(d.link))
		}
		if len(f.Interfaces) < maxListed {
			f.Interfaces = append(f.Interfaces, Interface{Name: tcp.Untrusted(d.name), LinkType: d.link, SnapLen: uint32(l.o.SnapLen), Number: d.number})
		}
	}
	return f
}

// InterfaceName returns the name of the interface with a Packet.Iface number, ""
// where there is none.
func (l *Live) InterfaceName(number uint32) string {
	for i := range l.devs {
		if l.devs[i].number == number {
			return l.devs[i].name
		}
	}
	return ""
}

// Filter is a packet filter, one program for every link type that it was
// compiled for.
type Filter struct{ vms map[uint32]*bpf.VM }

// FilterLinks are the link types that NewFilter wants programs for, by their
// names.
var FilterLinks = map[string]uint32{"EN10MB": linkEthernet, "RAW": linkRaw}

// NewFilter makes a filter from classic BPF programs by the name of the link
// type, as tcpdump -y NAME -ddd prints them. It fails where a program is
// invalid.
func NewFilter(programs map[string][]bpf.RawInstruction) (*Filter, error) {
	f := &Filter{vms: map[uint32]*bpf.VM{}}
	for name, link := range FilterLinks {
		raw, there := programs[name]
		if !there {
			return nil, fmt.Errorf("no filter program for link type %s", name)
		}
		code, all := bpf.Disassemble(raw)
		if !all {
			return nil, fmt.Errorf("the filter program for link type %s holds unknown instructions", name)
		}
		vm, err := bpf.NewVM(code)
		if err != nil {
			return nil, fmt.Errorf("the filter program for link type %s: %w", name, err)
		}
		f.vms[link] = vm
	}
	return f, nil
}

// Matches reports whether a frame passes. VLAN tags are taken off before the
// program sees it: a filter that was written for plain frames holds for tagged
// ones too. What the filter cannot read passes.
func (f *Filter) Matches(link uint32, frame []byte) bool {
	vm := f.vms[link]
	if vm == nil {
		return true
	}
	if link == linkEthernet {
		frame = untagged(frame)
	}
	n, err := vm.Run(frame)
	return err != nil || n > 0
}

// untagged returns an Ethernet frame without its VLAN tags: the same one where
// it has none.
func untagged(frame []byte) []byte {
	at := 12
	for len(frame) >= at+6 {
		t := be16(frame[at:])
		if t != etherVLAN && t != etherQinQ && t != etherQinQ1 {
			break
		}
		at += 4
	}
	if at == 12 {
		return frame
	}
	return append(append(make([]byte, 0, len(frame)), frame[:12]...), frame[at:]...)
}
