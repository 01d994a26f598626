package capture

import (
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// wireless reads IEEE 802.11 headers, whose length depends on a dozen bits,
// with gopacket. Frames of a radio are rare next to the captures that have to
// be fast.
type wireless struct {
	parser  *gopacket.DecodingLayerParser
	header  layers.Dot11
	found   []gopacket.LayerType
	scratch [wirelessHead + wirelessFCS]byte
}

const (
	wirelessHead = 40 // above the longest MAC header: 36 octets
	wirelessFCS  = 4
)

func newWireless() *wireless {
	x := &wireless{found: make([]gopacket.LayerType, 0, 2)}
	x.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeDot11, &x.header)
	x.parser.IgnoreUnsupported = true
	x.parser.IgnorePanic = true // recovered, and counted, in read
	return x
}

// read decodes the MAC header that b begins with and returns its length, or
// why it could not. gopacket gets a copy: it takes the last four octets for a
// checksum, which most captures do not have.
func (x *wireless) read(b []byte) (size int, reason string) {
	defer func() {
		if recover() != nil {
			size, reason = 0, "802.11 header made the decoder panic"
		}
	}()
	n := copy(x.scratch[:wirelessHead], b)
	clear(x.scratch[n:])
	if err := x.parser.DecodeLayers(x.scratch[:n+wirelessFCS], &x.found); err != nil || len(x.found) == 0 {
		return 0, "802.11 header cut or damaged"
	}
	if size = len(x.header.Contents); size > n {
		return 0, "802.11 header cut or damaged"
	}
	return size, ""
}

// dot11 reads an IEEE 802.11 data frame.
func (w *walk) dot11(at int) (layer, int) {
	if w.d.wireless == nil {
		w.d.wireless = newWireless()
	}
	x := w.d.wireless
	if !w.has(at, 2) {
		return w.reject("802.11 header cut or damaged")
	}
	size, reason := x.read(w.b[at:])
	if reason != "" {
		return w.reject(reason)
	}
	if reason = wirelessReason(&x.header, w.b[at:at+size]); reason != "" {
		return w.reject(reason)
	}
	if w.radioPadded {
		size = (size + 3) &^ 3
	}
	return layerLLC, at + size
}

// wirelessReason says why a frame holds no packet that can be read, or "".
// octets are those of its header.
func wirelessReason(h *layers.Dot11, octets []byte) string {
	const noData = 4 // bit of the subtype
	switch kind := h.Type; {
	case kind.MainType() != layers.Dot11TypeData:
		return "802.11 frame without data"
	case kind>>2&noData != 0:
		return "802.11 frame without data"
	case h.Flags.WEP():
		return "802.11 frame is encrypted"
	case h.FragmentNumber != 0 || h.Flags.MF():
		return "802.11 fragment"
	case h.QOS != nil && aggregated(h, octets):
		return "802.11 frame with several packets"
	}
	return ""
}

// aggregated reports whether a QoS frame's body is an A-MSDU: several packets,
// each with a header of its own. gopacket does not read that bit.
func aggregated(h *layers.Dot11, octets []byte) bool {
	qos := len(octets) - 2
	if h.HTControl != nil {
		qos -= 4
	}
	return octets[qos]&0x80 != 0
}
