package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// Frame is one frame of a capture, with its TCP header where it has one.
type Frame struct {
	At   time.Time
	Data []byte // as captured, from the Ethernet header on
	Orig int    // octets on the wire

	TCP      bool
	Src, Dst netip.AddrPort
	IPID     uint16
	Seq, Ack uint32
	Flags    byte
	Window   uint16
	Len      int // octets of payload on the wire
	HasTS    bool
	TSval    uint32
	TSecr    uint32

	tcpAt int // offset of the TCP header in Data
	tsAt  int // offset of TSval in Data
}

// TCP flags of a Frame.
const (
	FlagFIN = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
)

const (
	pcapMagic   = 0xa1b2c3d4 // microseconds
	pcapHeader  = 24
	recordHead  = 16
	ethernet    = 1
	etherHeader = 14
)

// ReadPcap reads a capture as tcpdump writes it here: pcap, little-endian,
// microseconds, Ethernet.
func ReadPcap(path string) ([]Frame, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if len(b) < pcapHeader || le.Uint32(b) != pcapMagic || le.Uint32(b[20:]) != ethernet {
		return nil, fmt.Errorf("read %s: not a little-endian pcap file of Ethernet frames in microseconds", path)
	}
	var frames []Frame
	for b = b[pcapHeader:]; len(b) > 0; {
		if len(b) < recordHead || len(b)-recordHead < int(le.Uint32(b[8:])) {
			return nil, fmt.Errorf("read %s: cut within frame %d", path, len(frames)+1)
		}
		f := Frame{
			At:   time.Unix(int64(le.Uint32(b)), int64(le.Uint32(b[4:]))*1000).UTC(),
			Data: b[recordHead : recordHead+int(le.Uint32(b[8:]))],
			Orig: int(le.Uint32(b[12:])),
		}
		b = b[recordHead+len(f.Data):]
		f.decode()
		frames = append(frames, f)
	}
	return frames, nil
}

// WritePcap writes frames in the form that ReadPcap reads.
func WritePcap(path string, frames []Frame, snap int) error {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, pcapMagic)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 4)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(snap))
	b = le.AppendUint32(b, ethernet)
	for i := range frames {
		f := &frames[i]
		b = le.AppendUint32(b, uint32(f.At.Unix()))
		b = le.AppendUint32(b, uint32(f.At.Nanosecond()/1000))
		b = le.AppendUint32(b, uint32(len(f.Data)))
		b = le.AppendUint32(b, uint32(f.Orig))
		b = append(b, f.Data...)
	}
	return os.WriteFile(path, b, 0o644)
}

// ip reports whether the frame holds an IPv4 packet.
func (f *Frame) ip() bool {
	return len(f.Data) >= etherHeader && binary.BigEndian.Uint16(f.Data[12:]) == 0x0800
}

// network reads the IP header: its length, the length of the packet's rest, and
// the addresses. ok is false where it holds no TCP.
func (f *Frame) network() (head, rest int, src, dst netip.Addr, ok bool) {
	be, d := binary.BigEndian, f.Data
	switch {
	case len(d) >= etherHeader+40+20 && be.Uint16(d[12:]) == 0x86dd && d[etherHeader]>>4 == 6 && d[etherHeader+6] == 6:
		ip := d[etherHeader:]
		return 40, int(be.Uint16(ip[4:])), netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])), true
	case len(d) < etherHeader+20+20 || !f.ip() || d[etherHeader]>>4 != 4 || d[etherHeader+9] != 6:
		return 0, 0, src, dst, false
	}
	ip := d[etherHeader:]
	head = int(ip[0]&15) * 4
	f.IPID = be.Uint16(ip[4:])
	return head, int(be.Uint16(ip[2:])) - head, netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])), head >= 20 && len(ip) >= head+20
}

// decode reads the headers of an unfragmented TCP frame; others stay plain
// frames.
func (f *Frame) decode() {
	head, rest, src, dst, ok := f.network()
	if !ok {
		return
	}
	be := binary.BigEndian
	tcp := f.Data[etherHeader+head:]
	tcpHead := int(tcp[12]>>4) * 4
	if tcpHead < 20 || len(tcp) < tcpHead {
		return
	}
	f.TCP, f.tcpAt = true, etherHeader+head
	f.Src = netip.AddrPortFrom(src, be.Uint16(tcp))
	f.Dst = netip.AddrPortFrom(dst, be.Uint16(tcp[2:]))
	f.Seq, f.Ack = be.Uint32(tcp[4:]), be.Uint32(tcp[8:])
	f.Flags, f.Window = tcp[13], be.Uint16(tcp[14:])
	f.Len = rest - tcpHead
	f.findTimestamps(tcp[20:tcpHead])
}

// findTimestamps looks for the timestamps option (RFC 7323) among options.
func (f *Frame) findTimestamps(options []byte) {
	for at := 0; at < len(options); {
		kind := options[at]
		if kind == 0 {
			return
		}
		if kind == 1 {
			at++
			continue
		}
		if at+1 >= len(options) || options[at+1] < 2 || at+int(options[at+1]) > len(options) {
			return
		}
		if kind == 8 && options[at+1] == 10 {
			f.HasTS, f.tsAt = true, f.tcpAt+20+at+2
			f.TSval = binary.BigEndian.Uint32(f.Data[f.tsAt:])
			f.TSecr = binary.BigEndian.Uint32(f.Data[f.tsAt+4:])
			return
		}
		at += int(options[at+1])
	}
}

// setTimestamps writes another TSval and TSecr into the frame and corrects the
// TCP checksum by the difference (RFC 1624), so that a cut frame works too.
func (f *Frame) setTimestamps(val, ecr uint32) {
	be := binary.BigEndian
	d := append([]byte(nil), f.Data...)
	sumAt := f.tcpAt + 16
	sum := uint32(^be.Uint16(d[sumAt:]))
	// The option may begin at an odd offset: take whole words around it.
	from := f.tsAt - (f.tsAt-f.tcpAt)%2
	to := f.tsAt + 8 + (f.tsAt-f.tcpAt)%2
	for at := from; at < to; at += 2 {
		sum += uint32(^be.Uint16(d[at:]))
	}
	be.PutUint32(d[f.tsAt:], val)
	be.PutUint32(d[f.tsAt+4:], ecr)
	for at := from; at < to; at += 2 {
		sum += uint32(be.Uint16(d[at:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	be.PutUint16(d[sumAt:], ^uint16(sum))
	f.Data, f.TSval, f.TSecr = d, val, ecr
}

// next returns the sequence number behind the segment.
func (f *Frame) next() uint32 {
	n := f.Seq + uint32(f.Len)
	if f.Flags&FlagSYN != 0 {
		n++
	}
	if f.Flags&FlagFIN != 0 {
		n++
	}
	return n
}

// flowKey is a frame's connection: client port and server port tell the flows
// of a lab apart, the ends' addresses are always the same two.
type flowKey struct{ lo, hi netip.AddrPort }

func (f *Frame) flow() flowKey {
	if f.Src.Compare(f.Dst) < 0 {
		return flowKey{f.Src, f.Dst}
	}
	return flowKey{f.Dst, f.Src}
}
