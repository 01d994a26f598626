//go:build !linux

package capture

import "errors"

// Live captures from interfaces; here it cannot be opened.
type Live struct {
	tally
	name string
	o    LiveOptions
	devs []device
	dec  decoder
}

// OpenLive fails: capturing is built for Linux alone.
func OpenLive(o LiveOptions) (*Live, error) {
	name := ""
	if len(o.Interfaces) > 0 {
		name = o.Interfaces[0]
	}
	return nil, &fileError{name, errors.New("live capture needs Linux; here: tcpdump -w - -i IFACE | kaflow watch -r -")}
}

// Read implements Source.
func (l *Live) Read(*Batch) error { return errors.New("not open") }

// Abandon does nothing.
func (l *Live) Abandon() {}

// Close does nothing.
func (l *Live) Close() error { return nil }

// LiveLink fails, as OpenLive does.
func LiveLink(name string) (uint32, error) {
	return 0, &fileError{name, errors.New("live capture needs Linux")}
}
