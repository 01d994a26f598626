package flows

import (
	"bytes"

	"kaflow/facts"
	"kaflow/tcp"
)

// askedOctets is how many octets of a direction are asked what they speak.
const askedOctets = 4096

// maxBanners bounds the distinct application names that a table keeps.
const maxBanners = 4096

// recognise names the sender's application by its first octets. What they do
// not tell stays unknown; ports are not asked here.
func (s *step) recognise() {
	if id := s.t.speaks(s.payload); id != 0 {
		s.c.app[s.d] = id
	}
}

// speaks returns the number of the protocol's word, or the line, by which the
// octets that begin one direction are known; 0 where they fit nothing.
func (t *Table) speaks(b []byte) uint16 {
	name := application(b)
	if name == "" {
		name = tcp.Untrusted(sshLine(b))
	}
	if name == "" {
		return 0
	}
	recent := &t.lastNames[(len(name)^int(name[len(name)-1]))%len(t.lastNames)] // few are spoken
	if t.banners[*recent] != name {
		*recent = t.banner(name)
	}
	return *recent
}

// banner returns the number of a name; 0 of "", and where there are too many.
func (t *Table) banner(name tcp.Untrusted) uint16 {
	if id, ok := t.bannerIDs[name]; ok || len(t.banners) >= maxBanners {
		return id
	}
	t.banners = append(t.banners, name)
	t.bannerIDs[name] = uint16(len(t.banners) - 1)
	return uint16(len(t.banners) - 1)
}

// sshLine returns the identification line of SSH (RFC 4253, section 4.2), nil
// where b does not begin with one.
func sshLine(b []byte) []byte {
	if !bytes.HasPrefix(b, []byte("SSH-")) {
		return nil
	}
	line, _, _ := bytes.Cut(b[:min(len(b), 255)], []byte("\n"))
	return bytes.TrimRight(line, "\r")
}

// application returns a protocol's word for the octets that begin one
// direction of a connection, other than SSH. It returns "" where they fit nothing
// that it knows.
func application(b []byte) tcp.Untrusted {
	if len(b) == 0 {
		return ""
	}
	switch b[0] { // of most payloads it fits nothing, and then that is all that is looked at
	case 'G', 'H', 'P', 'D', 'O', 'C', 'E':
		switch {
		case isHTTP(b):
			return "http"
		case begins(b, "PRI * HTTP/2"):
			return "http2"
		case begins(b, "EHLO ", "HELO "):
			return "smtp or ftp"
		}
	case '2':
		if begins(b, "220 ") {
			return "smtp or ftp"
		}
	case 22:
		if len(b) >= 6 && b[1] == 3 && b[2] <= 4 && (b[5] == 1 || b[5] == 2) {
			return "tls"
		}
	case 0x10:
		if len(b) >= 14 && bytes.Contains(b[:min(len(b), 16)], []byte("MQTT")) {
			return "mqtt"
		}
	case 'A':
		if begins(b, "AMQP") {
			return "amqp"
		}
	case '*':
		if begins(b, "*1\r\n$", "*2\r\n$", "*3\r\n$") {
			return "redis"
		}
	case 0:
		if len(b) >= 8 && b[4] == 0 && b[5] == 3 && b[6] == 0 && b[7] == 0 {
			return "postgresql"
		}
	case 0xff:
		switch {
		case len(b) >= 19 && bytes.Equal(b[:16], bgpMarker):
			return "bgp"
		case len(b) >= 3 && b[1] >= 0xfb && b[1] <= 0xfe && !isSMB(b):
			return "telnet"
		}
	case 'R':
		if begins(b, "RFB 0") {
			return "vnc"
		}
	case 3:
		if len(b) >= 7 && b[1] == 0 && b[5] == 0xe0 {
			return "rdp or tpkt"
		}
	}
	if isSMB(b) {
		return "smb"
	}
	return ""
}

// begins reports whether octets begin with one of some words.
func begins(b []byte, words ...string) bool {
	for _, word := range words {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return true
		}
	}
	return false
}

// isSMB looks behind the four octets of a session service's header, whose first may be any.
func isSMB(b []byte) bool {
	return len(b) >= 9 && b[4] == 0xfe && b[5] == 'S' && b[6] == 'M' && b[7] == 'B' || len(b) >= 8 && b[4] == 0xff && b[5] == 'S' && b[6] == 'M'
}

// PublicWords returns the stretches of a payload, as offsets, by which its
// protocol or a heartbeat of it is recognised, and which hold nothing of a
// user's. length is the segment's, payload what was captured of it.
func PublicWords(payload []byte, length int, ports ...uint16) (words [][2]int) {
	if n := applicationWord(payload); n > 0 {
		words = append(words, [2]int{0, n})
	}
	if oneSmallRecord(payload, length) { // its content stays out
		words = append(words, [2]int{0, recordHead})
	}
	for _, find := range [...]func([]byte, int, ...uint16) (facts.Heartbeat, bool){facts.HeartbeatIn, facts.HeartbeatAnswerIn} {
		h, ok := find(payload, length, ports...)
		if !ok {
			continue
		}
		for _, prefixes := range [...][]string{h.Prefixes, h.AnswerPrefixes} {
			for _, prefix := range prefixes {
				if bytes.HasPrefix(payload, []byte(prefix)) {
					words = append(words, [2]int{0, len(prefix)})
				}
			}
		}
		if at := bytes.Index(payload, []byte(h.Contains)); at > 0 {
			words = append(words, [2]int{at, at + len(h.Contains)})
		}
	}
	return words
}

// applicationWord returns how many of the octets that begin one direction of a
// connection tell which protocol it speaks, and hold nothing of a user's; 0
// where they fit nothing that is known.
func applicationWord(b []byte) int {
	switch {
	case bytes.HasPrefix(b, []byte("SSH-2.0-")):
		return len("SSH-2.0-")
	case bytes.HasPrefix(b, []byte("SSH-")):
		return len("SSH-")
	}
	switch application(b) {
	case "tls":
		return 6
	case "http":
		return bytes.IndexAny(b, " .") + 1
	case "http2":
		return len("PRI * HTTP/2")
	case "mqtt": // up to the length of the client's name
		return min(len(b), max(14, bytes.Index(b, []byte("MQTT"))+10))
	case "bgp":
		return 19
	case "postgresql":
		return 8
	case "smb":
		return min(len(b), 9)
	case "telnet":
		return 3
	case "rdp or tpkt":
		return 7
	case "redis", "vnc":
		return 5
	case "amqp":
		return 4
	case "smtp or ftp":
		return bytes.IndexByte(b, ' ') + 1
	}
	return 0
}

var bgpMarker = bytes.Repeat([]byte{0xff}, 16)

// isHTTP compares with constants one by one, which needs no calls.
func isHTTP(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	switch b[0] {
	case 'G':
		return bytes.HasPrefix(b, []byte("GET "))
	case 'H':
		return bytes.HasPrefix(b, []byte("HTTP/1.")) || bytes.HasPrefix(b, []byte("HEAD "))
	case 'P':
		return bytes.HasPrefix(b, []byte("POST ")) || bytes.HasPrefix(b, []byte("PUT ")) || bytes.HasPrefix(b, []byte("PATCH "))
	case 'D':
		return bytes.HasPrefix(b, []byte("DELETE "))
	case 'O':
		return bytes.HasPrefix(b, []byte("OPTIONS "))
	case 'C':
		return bytes.HasPrefix(b, []byte("CONNECT "))
	}
	return false
}
