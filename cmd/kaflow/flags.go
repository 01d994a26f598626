package main

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kaflow/capture"
	"kaflow/tcp"
)

// flags are what all commands share.
type flags struct {
	read        []string
	host        string
	nets        []string
	port        int
	flow        int
	format      string
	json        bool
	out         string
	force       bool
	color       string
	ascii       bool
	width       int
	utc         bool
	zone        string
	failOn      []string
	from        string
	until       string
	offset      time.Duration
	covers      []string
	maxFlows    int
	maxInput    string
	quiet       bool
	whatIf      string
	all         bool
	hash        bool
	mermaid     bool
	maxChars    int
	byInterface bool
	noBanner    bool
	maxEvents   int
	maxListed   int
	sanitize    string
	addressMap  string
	sanitizeKey string
}

// register adds the flags to a set.
func (f *flags) register(s *pflag.FlagSet) {
	s.SortFlags = false
	s.StringArrayVarP(&f.read, "read", "r", nil, "read this capture too (repeatable; - is stdin)")
	s.StringVar(&f.host, "host", "", "only flows of this address")
	s.StringSliceVar(&f.nets, "net", nil, "only flows of an address in this network, such as 192.0.2.0/24 (repeatable)")
	s.Var(number{&f.port, 1, math.MaxUint16, "want a port, 1 to 65535"}, "port", "only flows of this port")
	s.Var(number{&f.flow, 1, math.MaxInt, "flows count from 1"}, "flow", "only flow N of the report, counted from 1")
	s.StringVar(&f.from, "from", "", "leave out what is earlier: RFC 3339, or a duration after the first packet")
	s.StringVar(&f.until, "until", "", "leave out what is later: RFC 3339, or a duration after the first packet")
	s.StringVar(&f.format, "format", "", "text, md, jira, html, json or ndjson; of frames tsv or ndjson")
	s.BoolVar(&f.json, "json", false, "short for --format json")
	s.StringVarP(&f.out, "output", "o", "", "write to this file instead of stdout")
	s.BoolVar(&f.force, "force", false, "let -o replace a file")
	s.StringVar(&f.color, "color", "auto", "auto, always or never")
	s.BoolVar(&f.ascii, "ascii", false, "no characters beyond ASCII")
	s.IntVar(&f.width, "width", 0, "columns (default: the terminal's, at most 100)")
	s.BoolVar(&f.utc, "utc", false, "print times in UTC")
	s.StringVar(&f.zone, "tz", "", "print times in this zone, such as Europe/Berlin")
	s.BoolVar(&f.hash, "hash", false, "tell the SHA-256 of every file (md, jira and html tell it unasked)")
	s.BoolVar(&f.noBanner, "no-banner", false, "leave out what the two sides called themselves")
	s.BoolVar(&f.all, "all", false, "show every flow in full")
	s.StringSliceVar(&f.failOn, "fail-on", nil, "exit 1 when a flow has one of these verdicts")
	s.IntVar(&f.maxFlows, "max-flows", 0, "live flows to keep (default 1000000)")
	s.BoolVar(&f.mermaid, "mermaid", false, "of md: draw the timeline as a sequence diagram, too")
	s.IntVar(&f.maxChars, "max-chars", 0, "of md and jira: characters that the tracker takes")
	s.IntVar(&f.maxEvents, "max-events", 0, "events that the stories of one capture may hold (default 2000000)")
	s.IntVar(&f.maxListed, "max-listed", 0, "harmless flows to list in JSON and HTML (default 10000)")
	s.StringVar(&f.maxInput, "max-input", "", "octets that one input may have, unpacked: 500M, 2T (default 1T)")
	s.DurationVar(&f.offset, "clock-offset", 0, "clock of the second capture minus that of the first, where you know it")
	s.StringArrayVar(&f.covers, "covers", nil, "NAME=FROM..UNTIL: that capture was recording all that time (RFC 3339; repeatable)")
	s.BoolVar(&f.byInterface, "by-interface", false, "each interface of a capture is a vantage point of its own")
	s.StringVar(&f.sanitize, "sanitize", "", "leave out what tells who and what: addresses replaced (addresses, roles or keyed), no payload, names or comments")
	s.Lookup("sanitize").NoOptDefVal = sanitizeAddresses
	s.StringVar(&f.addressMap, "map", "", "of --sanitize: keep in this file what addresses were replaced by, and go on with it")
	s.StringVar(&f.sanitizeKey, "sanitize-key", "", "of --sanitize=keyed: a file with the key, 32 octets (default: drawn for this run)")
	s.StringVar(&f.whatIf, "what-if", "", "would the flows have lived with idle=T,interval=T? (interval: as seen, where not given)")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "no hints and no progress")
}

// number is the value of a flag that takes whole numbers within bounds. Its zero
// is that of a flag not given: without bounds --flow 0 would mean all flows.
type number struct {
	to          *int
	least, most int
	want        string // what to say of any other
}

// String implements pflag.Value.
func (n number) String() string { return strconv.Itoa(*n.to) }

// Set implements pflag.Value.
func (n number) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < n.least || v > n.most {
		return errors.New(n.want)
	}
	*n.to = v
	return nil
}

// Type implements pflag.Value.
func (n number) Type() string { return "int" }

// badValue says of a flag's value what is wrong with it, in a line of ours.
func badValue(e *pflag.InvalidValueError) error {
	why := e.Unwrap()
	var n *strconv.NumError
	if errors.As(why, &n) {
		why = n.Err
	}
	return usageError{fmt.Sprintf("--%s %s: %v", e.GetFlag().Name, e.GetValue(), why)}
}

// formatOf returns the format asked for, the first of known being the default.
func (f *flags) formatOf(known ...string) (string, error) {
	asked := f.format
	if f.json {
		if asked != "" && asked != "json" {
			return "", usageError{"--json and --format " + asked + " contradict each other"}
		}
		asked = "json"
	}
	if asked == "" {
		return known[0], nil
	}
	if !slices.Contains(known, asked) {
		return "", usageError{fmt.Sprintf("format %q is not known here: want %s", asked, strings.Join(known, " or "))}
	}
	return asked, nil
}

// refuse returns an error where the command line sets a flag that has no
// meaning for a command.
func refuse(c *cobra.Command, names ...string) error {
	for _, name := range names {
		if c.Flags().Changed(name) {
			return usageError{fmt.Sprintf("--%s has no meaning for %s", name, c.Name())}
		}
	}
	return nil
}

// location returns the zone in which times are printed.
func (f *flags) location() (*time.Location, error) {
	switch {
	case f.utc && f.zone != "":
		return nil, usageError{"--utc and --tz contradict each other"}
	case f.utc:
		return time.UTC, nil
	case f.zone == "":
		return time.Local, nil
	}
	l, err := time.LoadLocation(f.zone)
	if err != nil {
		return nil, usageError{fmt.Sprintf("--tz %s: no such time zone", f.zone)}
	}
	return l, nil
}

// octets reads --max-input; 0 is the default.
func (f *flags) octets() (int64, error) {
	if f.maxInput == "" {
		return 0, nil
	}
	return parseOctets("--max-input", f.maxInput)
}

// parseOctets reads a number of octets with a unit.
func parseOctets(flag, text string) (int64, error) {
	digits := strings.TrimRight(text, "KMGTiB")
	shift, known := map[string]int{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(text[len(digits):], "iB")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, usageError{fmt.Sprintf("%s %s: want a number of octets such as 500M", flag, text)}
	}
	return n << shift, nil
}

// selection is which packets and flows are asked for.
type selection struct {
	host        netip.Addr
	nets        []netip.Prefix
	port        uint16
	from, until bound
}

// bound is one end of a stretch of time, absolute or after the first packet.
type bound struct {
	at    tcp.Instant
	after time.Duration
	set   bool
	rel   bool
}

// selection reads --host, --port, --from and --until. In a sanitised run the
// host is the one that it is replaced by.
func (a *app) selection() (selection, error) {
	s, err := a.flags.selection()
	if err != nil {
		return s, err
	}
	clean, err := a.sanitiser()
	if clean != nil && len(s.nets) > 0 {
		return s, usageError{"--net and --sanitize contradict each other: networks are replaced, too; --host goes with both"}
	}
	if err == nil && clean != nil && s.host.IsValid() {
		s.host = clean.Map.Addr(s.host)
	}
	return s, err
}

// selection reads --host, --net, --port, --from and --until.
func (f *flags) selection() (s selection, err error) {
	s.port = uint16(f.port)
	if f.host != "" {
		if s.host, err = netip.ParseAddr(f.host); err != nil {
			return s, usageError{fmt.Sprintf("--host %s: not an address (names are not looked up)", f.host)}
		}
		s.host = s.host.Unmap()
	}
	for _, text := range f.nets {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return s, usageError{fmt.Sprintf("--net %s: not a network such as 192.0.2.0/24 or 2001:db8::/32", text)}
		}
		if n != n.Masked() {
			return s, usageError{fmt.Sprintf("--net %s: has bits set behind its prefix; did you mean %s?", text, n.Masked())}
		}
		if n.Addr().Is4In6() {
			return s, usageError{fmt.Sprintf("--net %s: write IPv4 networks as IPv4", text)}
		}
		s.nets = append(s.nets, n)
	}
	if s.from, err = parseBound("--from", f.from); err != nil {
		return s, err
	}
	s.until, err = parseBound("--until", f.until)
	return s, err
}

func parseBound(flag, text string) (bound, error) {
	if text == "" {
		return bound{}, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "+")); err == nil {
		return bound{after: d, set: true, rel: true}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return bound{}, usageError{fmt.Sprintf("%s %s: neither RFC 3339 nor a duration", flag, text)}
	}
	return bound{at: tcp.Instant(t.UnixNano()), set: true}, nil
}

// instant returns the bound's moment in a capture that began at first.
func (b bound) instant(first tcp.Instant) tcp.Instant {
	if b.rel {
		return first.Add(b.after)
	}
	return b.at
}

// during reports whether at lies in the stretch, in a capture that began at first.
func (s *selection) during(at, first tcp.Instant) bool {
	if s.from.set && at < s.from.instant(first) {
		return false
	}
	return !s.until.set || at <= s.until.instant(first)
}

// timed reports whether a stretch of time was asked for at all.
func (s *selection) timed() bool { return s.from.set || s.until.set }

// ends reports whether a conversation between a and b is asked for.
func (s *selection) ends(a, b netip.AddrPort) bool {
	if s.port != 0 && a.Port() != s.port && b.Port() != s.port {
		return false
	}
	if s.host.IsValid() && a.Addr().Unmap() != s.host && b.Addr().Unmap() != s.host {
		return false
	}
	return len(s.nets) == 0 || s.inNets(a.Addr()) || s.inNets(b.Addr())
}

// inNets reports whether an address lies in one of the networks of --net.
func (s *selection) inNets(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(s.nets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// narrow reports whether some connections only are asked for.
func (s *selection) narrow() bool { return s.host.IsValid() || s.port != 0 || len(s.nets) > 0 }

// packet reports whether a packet of a capture that began at first is asked for.
func (s *selection) packet(p *capture.Packet, first tcp.Instant) bool {
	if s.timed() && !s.during(p.At, first) {
		return false
	}
	if !s.narrow() {
		return true
	}
	return s.ends(p.Key.LoEnd(), p.Key.HiEnd())
}
