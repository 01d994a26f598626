package capture

import "kaflow/tcp"

// LiveOptions say what is captured. The zero value of SnapLen is 256 octets:
// headers, and the first words of an application.
type LiveOptions struct {
	Interface   string // one interface, or "any"
	SnapLen     int
	Promiscuous bool
	Each        func(*Packet, Frame) // called for every frame that is captured; nil costs nothing
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

	lossSince tcp.Instant // packets were dropped after this one; 0: none since the last hole
}

// File describes what was captured so far, as if it lay in a file.
func (l *Live) File() File {
	return File{
		Path: tcp.Untrusted(l.name), Format: "live", LinkTypes: []string{linkName(l.link)}, Frames: uint64(l.ord), TCPFrames: l.tcp,
		First: l.first, Last: l.last, Undecoded: l.dec.undecoded, Drops: l.dropped, DropsKnown: true, Unfiltered: true,
	}
}
