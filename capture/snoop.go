package capture

import (
	"fmt"

	"kaflow/tcp"
)

// snoopMagic begins the files of Solaris snoop.
const snoopMagic = "snoop\x00\x00\x00"

const (
	snoopHeader       = 16
	snoopRecordHeader = 24
)

// snoop reads Solaris snoop's file format, version 2 (RFC 1761).
type snoop struct{ drops uint64 }

// snoopLink turns a data link type of RFC 1761 into a LINKTYPE_ number.
func snoopLink(datalink uint32) uint32 {
	switch datalink {
	case 0, 4: // IEEE 802.3, Ethernet: the same on the wire
		return linkEthernet
	case 8:
		return linkFDDI
	}
	return foreignLink | datalink
}

func openSnoop(r *reader) (container, string, error) {
	if !r.want(snoopHeader) {
		return nil, "", fmt.Errorf("snoop file header needs %d octets, %d left", snoopHeader, r.left())
	}
	h := r.buf[r.at:]
	if version := be32(h[8:]); version != 2 {
		return nil, "", fmt.Errorf("snoop version %d is not supported; convert it: editcap -F pcapng", version)
	}
	r.at += snoopHeader
	r.addIface(iface{link: snoopLink(be32(h[12:]))}, Interface{}, 0)
	r.file.DropsKnown = true
	return &snoop{}, "snoop", nil
}

func (s *snoop) unit() string { return "packet record" }

func (s *snoop) records(r *reader, b *Batch) (int, error) {
	f := &r.ifaces[0]
	for b.N < BatchSize {
		rest := r.buf[r.at:r.end]
		if len(rest) < snoopRecordHeader {
			return snoopRecordHeader, nil
		}
		wire, n, size := be32(rest), be32(rest[4:]), be32(rest[8:])
		switch {
		case n > maxRecord:
			return 0, fmt.Errorf("packet record claims %d octets, more than %d", n, maxRecord)
		case size < snoopRecordHeader+n || size > snoopRecordHeader+2*maxRecord:
			return 0, fmt.Errorf("packet record of %d octets cannot hold %d", size, n)
		case r.tooEmpty(n):
			return 0, errEmpty
		case len(rest) < int(size):
			return int(size), nil
		}
		at := tcp.Instant(int64(be32(rest[16:]))*1_000_000_000 + int64(be32(rest[20:]))*1000)
		if drops := uint64(be32(rest[12:])); drops > s.drops {
			if b.N > 0 {
				return 0, nil // the hole belongs before the next batch
			}
			r.file.Drops += drops - s.drops
			s.drops = drops
			r.hole(f.last, at, WhyDropped)
		}
		r.packet(b, f, record{r.at, r.at + snoopRecordHeader, int(n), wire}, at)
		r.at += int(size)
	}
	return 0, nil
}
