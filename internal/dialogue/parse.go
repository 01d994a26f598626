package dialogue

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"kaflow/tcp"
)

// Parse reads a conversation. The error names the line.
func Parse(text string) (*Script, error) {
	p := parser{Script: Script{
		link:    linkEthernet,
		snaplen: 262144,
		start:   tcp.Instant(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()),
		ends:    map[string]*end{},
		delay:   map[string]time.Duration{},
		clock:   map[string]time.Duration{},
		hops:    1,
	}, dropped: map[string]bool{}}
	p.addEnd("C", netip.MustParseAddrPort("192.0.2.1:40000"))
	p.addEnd("S", netip.MustParseAddrPort("198.51.100.2:22"))
	for i, line := range strings.Split(text, "\n") {
		words, err := split(line)
		if err == nil && len(words) > 0 {
			err = p.line(words)
		}
		if err != nil {
			return nil, fmt.Errorf("dialogue line %d: %w", i+1, err)
		}
	}
	for i := range p.frames {
		if q := p.frames[i].quotes; p.frames[i].kind == kindICMP && (q < 0 || q >= len(p.frames)) {
			return nil, fmt.Errorf("dialogue: frame %d quotes frame %d of %d", i+1, q+1, len(p.frames))
		}
	}
	return &p.Script, nil
}

// parser is a Script that is being read.
type parser struct {
	Script
	now     time.Duration
	dropped map[string]bool // ends whose frames are lost from here on
}

// split cuts a line into words; a quoted string is one word, a # outside of
// quotes begins a comment.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		switch {
		case line == "" || line[0] == '#':
			return words, nil
		case line[0] == '"':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("unclosed quote in %s", line)
			}
			words, line = append(words, quoted), line[len(quoted):]
		default:
			n := strings.IndexAny(line, " \t\r")
			if n < 0 {
				n = len(line)
			}
			words, line = append(words, line[:n]), line[n:]
		}
	}
}

// line takes one line: a directive, an end, or a frame.
func (p *parser) line(words []string) error {
	if len(words) > 3 && words[2] == ">" {
		return p.frame(words)
	}
	rest := words[1:]
	switch words[0] {
	case "link":
		return p.setLink(rest)
	case "snaplen":
		return number(rest, 1, 262144, &p.snaplen)
	case "hops":
		return number(rest, 0, 64, &p.hops)
	case "start":
		return p.setStart(rest)
	case "delay":
		return p.setDelay(rest)
	case "clock":
		return p.setClock(rest)
	case "drop":
		return p.setDrop(rest)
	}
	return p.describeEnd(words[0], rest)
}

// number reads the one argument of a directive.
func number(args []string, lo, hi int, to *int) error {
	if len(args) != 1 {
		return fmt.Errorf("one number wanted, %d words found", len(args))
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < lo || n > hi {
		return fmt.Errorf("%q is no number from %d to %d", args[0], lo, hi)
	}
	*to = n
	return nil
}

func (p *parser) setLink(args []string) error {
	links := map[string]linkType{"ethernet": linkEthernet, "raw": linkRaw, "sll": linkSLL, "null": linkNull}
	if len(args) == 1 {
		if l, ok := links[args[0]]; ok {
			p.link = l
			return nil
		}
	}
	return fmt.Errorf("link %s: want one of %v", strings.Join(args, " "), slices.Sorted(maps.Keys(links)))
}

func (p *parser) setStart(args []string) error {
	t, err := time.Parse(time.RFC3339Nano, strings.Join(args, " "))
	if err != nil {
		return err
	}
	p.start = tcp.Instant(t.UnixNano())
	return nil
}

func (p *parser) setDelay(args []string) error {
	if len(args) != 2 || p.ends[args[0]] == nil {
		return fmt.Errorf("delay wants an end and a duration")
	}
	d, err := duration(args[1])
	p.delay[args[0]] = d
	return err
}

func (p *parser) setClock(args []string) error {
	if len(args) != 2 || (args[0] != Client && args[0] != Server) {
		return fmt.Errorf("clock wants client or server and a duration")
	}
	d, err := duration(args[1])
	p.clock[args[0]] = d
	return err
}

// setDrop says whose frames are lost from here on.
func (p *parser) setDrop(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("drop wants an end, both or nothing")
	}
	switch {
	case args[0] == "nothing":
		clear(p.dropped)
	case args[0] == "both":
		for name := range p.ends {
			p.dropped[name] = true
		}
	case p.ends[args[0]] != nil:
		p.dropped[args[0]] = true
	default:
		return fmt.Errorf("drop: no end is called %q", args[0])
	}
	return nil
}

// describeEnd reads "NAME ADDR:PORT word value…".
func (p *parser) describeEnd(name string, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%q is no directive, no end with an address and no frame", name)
	}
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil { // a router or a host of which no port matters
		var bare netip.Addr
		if bare, err = netip.ParseAddr(args[0]); err != nil {
			return fmt.Errorf("%q is no directive, and %q no address", name, args[0])
		}
		addr = netip.AddrPortFrom(bare, 0)
	}
	e := p.addEnd(name, addr)
	for args = args[1:]; len(args) > 0; args = args[2:] {
		if len(args) < 2 {
			return fmt.Errorf("%s lacks its value", args[0])
		}
		if err := p.endWord(e, args[0], args[1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) endWord(e *end, word, value string) error {
	if word == "near" {
		if value != Client && value != Server {
			return fmt.Errorf("near %q: want client or server", value)
		}
		e.side = value
		return nil
	}
	n, err := strconv.ParseUint(value, 0, 16)
	switch {
	case err != nil:
	case word == "ttl" && n < 256:
		e.ttl = uint8(n)
	case word == "win":
		e.win = uint16(n)
	case word == "id":
		e.nextID, e.noID = uint16(n), n == 0
	default:
		err = fmt.Errorf("an end has no word %q", word)
	}
	return err
}

// addEnd adds an end, or gives a known one another address. The side is that of an
// end with the same address.
func (p *parser) addEnd(name string, addr netip.AddrPort) *end {
	e := p.ends[name]
	if e == nil {
		n := byte(len(p.ends) + 1)
		e = &end{name: name, ttl: 64, win: 502, nextID: uint16(n) * 1000, mac: [6]byte{2, 0, 0, 0, 0, n}}
		e.side = map[string]string{"C": Client, "S": Server}[name]
	}
	for _, other := range p.ends {
		if e.side == "" && other.addr.Addr() == addr.Addr() {
			e.side, e.mac = other.side, other.mac
		}
	}
	e.addr = addr
	p.ends[name] = e
	return e
}

// duration reads Go's notation, with an optional plus sign.
func duration(s string) (time.Duration, error) {
	return time.ParseDuration(strings.TrimPrefix(s, "+"))
}

// frame reads "TIME A > B WHAT word…".
func (p *parser) frame(words []string) error {
	if len(words) < 5 {
		return fmt.Errorf("a frame needs a time, two ends and flags")
	}
	delta, err := duration(words[0])
	if err != nil {
		return err
	}
	f := frame{at: delta, from: p.ends[words[1]], to: p.ends[words[3]]}
	if strings.HasPrefix(words[0], "+") {
		f.at += p.now
	} else {
		delta = 0
	}
	if f.from == nil || (f.to == nil && words[3] != "*") {
		return fmt.Errorf("no such end in %q", strings.Join(words[1:4], " "))
	}
	f.lost = p.dropped[f.from.name]
	f.want = Truth{Sender: f.from.side, Stream: -1}
	w := wordReader{parser: p, f: &f, words: words[5:], times: 1}
	if err := w.what(words[4]); err != nil {
		return err
	}
	if err := w.all(); err != nil {
		return err
	}
	if w.times > 1 && delta == 0 {
		return fmt.Errorf("x %d needs a time with a plus sign", w.times)
	}
	for i := range w.times {
		again := f
		again.at += time.Duration(i) * delta
		p.now = again.at
		p.identify(&again, i == 0 && w.idGiven)
		p.frames = append(p.frames, again)
	}
	return nil
}

// identify gives the frame its sender's next IP identification, unless the line
// gave one.
func (p *parser) identify(f *frame, given bool) {
	e := f.from
	switch {
	case given || e.noID:
	case e.addr.Addr().Is6():
	default:
		f.seg.IPID = e.nextID
		e.nextID++
	}
}

// wordReader reads what stands behind the two ends of a frame.
type wordReader struct {
	*parser
	f              *frame
	words          []string
	times          int
	idGiven        bool
	hasSeq, hasACK bool
}

// what reads the flags or the protocol.
func (w *wordReader) what(word string) error {
	f := w.f
	switch word {
	case "PING", "PONG":
		f.kind = kindPing
		if word == "PONG" {
			f.kind = kindPong
		}
		n, err := w.uint(16)
		f.echo, w.hasSeq = uint16(n), true
		return err
	case "UDP":
		f.kind, w.hasSeq = kindUDP, true
	case "ARP":
		return w.arp()
	case "ICMP":
		return w.icmpError()
	default:
		flags, err := parseFlags(word)
		f.seg.Flags, f.seg.Win = flags, f.from.win
		if f.to == nil {
			return fmt.Errorf("a segment cannot go to *")
		}
		f.seg.TTL = f.from.ttl
		return err
	}
	f.seg.TTL = f.from.ttl
	return nil
}

func (w *wordReader) arp() error {
	w.hasSeq = true
	if w.link != linkEthernet && w.link != linkSLL {
		return fmt.Errorf("ARP needs a link with addresses: ethernet or sll")
	}
	w.f.kind = kindARPReply
	if w.f.to != nil {
		return nil
	}
	w.f.kind = kindARPRequest
	if len(w.words) == 0 || w.ends[w.words[0]] == nil {
		return fmt.Errorf("ARP to * wants the end that is looked for")
	}
	w.f.target, w.words = w.ends[w.words[0]], w.words[1:]
	return nil
}

// icmpError reads "3/13 quoting N".
func (w *wordReader) icmpError() error {
	w.hasSeq = true
	w.f.kind = kindICMP
	w.f.seg.TTL = w.f.from.ttl
	if len(w.words) < 3 || w.words[1] != "quoting" {
		return fmt.Errorf("ICMP wants TYPE/CODE quoting FRAME")
	}
	typ, code, ok := strings.Cut(w.words[0], "/")
	t, err1 := strconv.ParseUint(typ, 10, 8)
	c, err2 := strconv.ParseUint(code, 10, 8)
	n, err3 := strconv.Atoi(w.words[2])
	if !ok || err1 != nil || err2 != nil || err3 != nil {
		return fmt.Errorf("ICMP wants TYPE/CODE quoting FRAME, found %q", strings.Join(w.words[:3], " "))
	}
	w.f.icmp, w.f.quotes = [2]uint8{uint8(t), uint8(c)}, n-1
	w.words = w.words[3:]
	return nil
}

// parseFlags reads "SYN,ACK"; none is no flag.
func parseFlags(s string) (tcp.Flags, error) {
	var flags tcp.Flags
	if s == "none" {
		return 0, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		bit := tcp.Flags(0)
		for f := tcp.FIN; f <= tcp.AE; f <<= 1 {
			if f.String() == name {
				bit = f
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("%q is no flag and no protocol", name)
		}
		flags |= bit
	}
	return flags, nil
}

// all reads the words and checks that a segment is whole.
func (w *wordReader) all() error {
	for len(w.words) > 0 {
		word := w.words[0]
		w.words = w.words[1:]
		if err := w.word(word); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
	}
	switch {
	case !w.hasSeq:
		return fmt.Errorf("a segment needs seq")
	case w.f.kind == kindTCP && w.f.seg.Flags.Has(tcp.ACK) != w.hasACK:
		return fmt.Errorf("the flag ACK and the word ack go together")
	}
	w.f.seg.Len = uint32(len(w.f.data))
	return nil
}

// word reads one word and its values.
func (w *wordReader) word(word string) error {
	f, s := w.f, &w.f.seg
	switch word {
	case "lost":
		f.lost = true
		return nil
	case "badsum":
		f.badSum = true
		return nil
	case "sackok":
		s.Opts |= tcp.OptSACKPermitted
		return nil
	case "=":
		return w.truth()
	case "certain", "inferred":
		f.want.Confidence = word
		return nil
	case "data":
		return w.payload()
	case "sack":
		return w.sackBlock()
	case "dup", "routed":
		return w.copyAfter(word == "routed")
	}
	if name, ok := strings.CutPrefix(word, "@"); ok {
		if name != Client && name != Server {
			return fmt.Errorf("no vantage point is called %q", name)
		}
		f.only = name
		return nil
	}
	return w.numberWord(word)
}

// numberWord reads a word with one number, or two for ts.
func (w *wordReader) numberWord(word string) error {
	bits, ok := map[string]int{"seq": 32, "ack": 32, "len": 16, "win": 16, "ttl": 8, "id": 16,
		"ts": 32, "mss": 16, "wscale": 8, "stream": 16, "vlan": 12, "teid": 32, "x": 16}[word]
	if !ok {
		return fmt.Errorf("no such word")
	}
	n, err := w.uint(bits)
	if err != nil {
		return err
	}
	f, s := w.f, &w.f.seg
	switch word {
	case "seq":
		s.Seq, w.hasSeq = tcp.Seq(n), true
	case "ack":
		s.Ack, w.hasACK = tcp.Seq(n), true
	case "len":
		f.data = filler(int(n))
	case "win":
		s.Win = uint16(n)
	case "ttl":
		s.TTL = uint8(n)
	case "id":
		s.IPID, w.idGiven = uint16(n), true
	case "mss":
		s.MSS, s.Opts = uint16(n), s.Opts|tcp.OptMSS
	case "wscale":
		s.WScale, s.Opts = uint8(n), s.Opts|tcp.OptWScale
	case "vlan":
		f.vlan = uint16(n)
	case "teid":
		f.teid = uint32(n)
	case "stream":
		f.want.Stream = int(n)
	case "x":
		w.times = int(n)
	case "ts":
		echo, err := w.uint(32)
		s.TSVal, s.TSEcr, s.Opts = uint32(n), uint32(echo), s.Opts|tcp.OptTimestamps
		return err
	}
	return nil
}

// truth takes the kind that the frame truly is.
func (w *wordReader) truth() error {
	if len(w.words) == 0 {
		return fmt.Errorf("a kind is missing")
	}
	w.f.want.Kind, w.words = w.words[0], w.words[1:]
	return nil
}

// filler is the payload of a segment of which only the length is given:
// letters, so that no octet is 0.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}

// uint takes the next word as a number.
func (w *wordReader) uint(bits int) (uint64, error) {
	if len(w.words) == 0 {
		return 0, fmt.Errorf("a number is missing")
	}
	n, err := strconv.ParseUint(w.words[0], 0, bits)
	w.words = w.words[1:]
	return n, err
}

// payload takes a quoted string or hexadecimal octets.
func (w *wordReader) payload() (err error) {
	if len(w.words) == 0 {
		return fmt.Errorf("the octets are missing")
	}
	word := w.words[0]
	w.words = w.words[1:]
	if strings.HasPrefix(word, `"`) {
		var text string
		text, err = strconv.Unquote(word)
		w.f.data = []byte(text)
		return err
	}
	w.f.data, err = hex.DecodeString(word)
	return err
}

// sackBlock takes "L-R".
func (w *wordReader) sackBlock() error {
	if len(w.words) == 0 {
		return fmt.Errorf("L-R is missing")
	}
	left, right, _ := strings.Cut(w.words[0], "-")
	w.words = w.words[1:]
	l, err := strconv.ParseUint(left, 0, 32)
	if err != nil {
		return err
	}
	r, err := strconv.ParseUint(right, 0, 32)
	if err != nil {
		return err
	}
	w.f.sack = append(w.f.sack, [2]tcp.Seq{tcp.Seq(l), tcp.Seq(r)})
	w.f.seg.Opts |= tcp.OptSACK
	return nil
}

// copyAfter takes the time after which the frame is recorded again.
func (w *wordReader) copyAfter(routed bool) error {
	if len(w.words) == 0 {
		return fmt.Errorf("a duration is missing")
	}
	d, err := duration(w.words[0])
	w.words = w.words[1:]
	w.f.copies = append(w.f.copies, again{d, routed})
	return err
}
