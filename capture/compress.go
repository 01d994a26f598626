package capture

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

const (
	maxWindow  = 64 << 20 // what a decompressor may hold of its output
	sniffSize  = 512      // octets that tell what a file is
	inputBlock = 64 << 10 // compressed octets read at once
)

// compression returns the name of the compression that a file beginning with
// b uses, "" for none.
func compression(b []byte) string {
	switch {
	case hasPrefix(b, "\x1f\x8b"):
		return "gzip"
	case hasPrefix(b, "\x28\xb5\x2f\xfd"):
		return "zstd"
	case len(b) >= 4 && le32(b)&^0xf == 0x184d2a50: // a frame to skip: pzstd begins with one
		return "zstd"
	case hasPrefix(b, "\xfd7zXZ\x00"):
		return "xz"
	case hasPrefix(b, "\x04\x22\x4d\x18"):
		return "lz4"
	case hasPrefix(b, "BZh") && len(b) > 3 && b[3] >= '1' && b[3] <= '9':
		return "bzip2"
	}
	return ""
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// unpacker is a decompressing reader and what ends it.
type unpacker struct {
	io.Reader
	name  string
	close func()
}

// unpack returns a reader of what in holds, compressed as the name says.
func unpack(name string, in io.Reader) (*unpacker, error) {
	u := &unpacker{name: name, close: func() {}}
	var err error
	switch name {
	case "gzip":
		u.Reader, err = gzip.NewReader(in)
	case "zstd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1))
		if err == nil {
			u.Reader, u.close = d, d.Close
		}
	case "xz":
		guard := &xzGuard{in: in}
		u.Reader, err = xz.NewReader(guard)
	case "lz4":
		u.Reader = lz4.NewReader(in)
	case "bzip2":
		u.Reader = bzip2.NewReader(in)
	}
	if err != nil {
		return nil, u.explain(err)
	}
	return u, nil
}

// Read reads unpacked octets. Errors name the compression.
func (u *unpacker) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = u.explain(err)
	}
	return n, err
}

// explain says of an error in compressed data what it means.
func (u *unpacker) explain(err error) error {
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return &cutError{u.name}
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, errXZWindow):
		return &limitError{fmt.Sprintf("%s data needs a window above %d MiB", u.name, maxWindow>>20)}
	}
	return fmt.Errorf("%s data is damaged: %w", u.name, err)
}

// cutError says that compressed data ended early.
type cutError struct{ name string }

func (e *cutError) Error() string { return e.name + " data was cut short" }

// limitError says that one of our limits, and not the file, ended a reading.
type limitError struct{ what string }

func (e *limitError) Error() string { return e.what }

// FormatError says that a file is no capture and what would make one of it.
type FormatError struct {
	Path string
	What string // "a Windows event trace, not a packet capture"
	Hint string // the way out; may be empty
	// Limit says that one of our own limits kept it from being read.
	Limit bool
}

// unreadable is the error of a file whose beginning can't be read as what it
// says it is.
func unreadable(path string, err error) *FormatError {
	var limit *limitError
	return &FormatError{Path: path, What: err.Error(), Limit: errors.As(err, &limit)}
}

func (e *FormatError) Error() string { return shown(e.Path) + ": " + e.says() }

func (e *FormatError) says() string {
	if e.Hint == "" {
		return e.What
	}
	return e.What + "; " + e.Hint
}

// shown returns a path for an error line: quoted where it holds anything that
// a terminal could act upon.
func shown(path string) string {
	for _, c := range path {
		if c < 0x20 || c == 0x7f || c == utf8.RuneError || c >= 0x80 && c < 0xa0 ||
			c >= 0x200b && c <= 0x200f || c >= 0x2028 && c <= 0x202e || c >= 0x2060 && c <= 0x2069 || c == 0xfeff {
			return fmt.Sprintf("%+q", path)
		}
	}
	return path
}

// foreign lists what is no capture, or none that is read, by how it begins.
var foreign = []struct{ magic, what, hint string }{
	{"GMBU", "a Network Monitor 2 capture", convert},
	{"RTSS", "a Network Monitor 1 capture", convert},
	{"TRSNIFF data    \x1a", "a Sniffer capture", convert},
	{"XCP\x00", "a NetXRay or Windows Sniffer capture", convert},
	{"iptrace ", "an AIX iptrace capture", convert},
	{"\x05VNF", "a Visual Networks capture", convert},
	{"btsnoop\x00", "a Bluetooth log, which holds no TCP", ""},
	{"PK\x03\x04", "a zip archive", "unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"},
	{"Rar!\x1a\x07", "a rar archive", "unpack it first"},
	{"\x1f\x9d", "compressed by compress", "unpack it first: uncompress"},
	{"\x02\x21\x4c\x18", "compressed by an old lz4", "unpack it first: lz4 -d"},
	{"\x5d\x00\x00", "compressed by lzma", "unpack it first: unlzma"},
	{"\x7fELF", "a program", ""},
	{"MZ", "a Windows program", ""},
	{"%PDF-", "a PDF document", ""},
	{"SQLite format 3\x00", "an SQLite database", ""},
}

const convert = "convert it: editcap -F pcapng IN OUT.pcapng"

// notCapture says what a file that begins with b is, as far as it is known.
func notCapture(path string, b []byte) *FormatError {
	e := &FormatError{Path: path, What: "no capture file: not pcap, pcapng or snoop"}
	if len(b) == 0 {
		e.What, e.Hint = "empty: not one octet in it", "a capture has a header even where it holds no packets"
		return e
	}
	for _, f := range foreign {
		if hasPrefix(b, f.magic) {
			e.What, e.Hint = f.what, f.hint
			return e
		}
	}
	switch {
	case isETL(b) || hasSuffixFold(path, ".etl"):
		e.What, e.Hint = "a Windows event trace", "convert it: etl2pcapng IN.etl OUT.pcapng, or pktmon etl2pcap IN.etl"
	case isERF(b) || hasSuffixFold(path, ".erf"):
		e.What, e.Hint = "an Endace ERF capture", convert
	case isTar(b):
		e.What, e.Hint = "a tar archive", "unpack it first"
	case isText(b):
		e.What, e.Hint = "text, not a capture", "capture with tcpdump -w, or turn a hex dump into a capture: text2pcap IN OUT.pcap"
	case len(b) < 24:
		e.What = fmt.Sprintf("too short for a capture: %d octets", len(b))
	}
	return e
}

func hasSuffixFold(path, suffix string) bool {
	return strings.HasSuffix(strings.ToLower(path), suffix)
}

// isETL recognises a Windows event trace log: a WMI buffer header of 72 octets,
// then a system trace header (evntrace.h, traceevent.h).
func isETL(b []byte) bool {
	if len(b) < 0x50 {
		return false
	}
	size := le32(b)
	return size >= 1024 && size <= 1<<24 && size%1024 == 0 &&
		le16(b[0x48:]) == 2 && (b[0x4a] == 1 || b[0x4a] == 2) && b[0x4b] == 0xc0
}

// isERF recognises two ERF records in a row: the format has no magic number,
// but types, lengths and times must fit.
func isERF(b []byte) bool {
	size, since, ok := erfRecord(b)
	if !ok || size > len(b)-16 {
		return false
	}
	_, then, ok := erfRecord(b[size:])
	return ok && then >= since && then-since < 86_400
}

// erfRecord reads an ERF record header: its length and time in seconds.
func erfRecord(b []byte) (size int, seconds uint32, ok bool) {
	if len(b) < 16 {
		return 0, 0, false
	}
	kind, seconds := b[8]&0x7f, le32(b[4:])
	size = int(be16(b[10:]))
	return size, seconds, kind >= 1 && kind <= 48 && size >= 16 && seconds > 600_000_000
}

func isTar(b []byte) bool { return len(b) >= 263 && string(b[257:262]) == "ustar" }

// isText reports whether the beginning of a file is text.
func isText(b []byte) bool {
	if hasPrefix(b, "\xff\xfe") || hasPrefix(b, "\xfe\xff") {
		return true
	}
	if cut := bytes.LastIndexAny(b, "\n "); cut > 0 && !utf8.Valid(b) {
		b = b[:cut] // the last character may be cut
	}
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b {
			return false
		}
	}
	return utf8.Valid(b)
}
