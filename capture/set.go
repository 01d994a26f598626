package capture

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"time"

	"kaflow/tcp"
)

// Options say how captures are read. The zero value reads files.
type Options struct {
	Stdin    io.Reader            // what "-" reads
	MaxInput int64                // decompressed octets that one file may have; 0: 1 TiB
	Each     func(*Packet, Frame) // called for every frame that is read; nil costs nothing
	Rewrite  func(*Frame)         // called for every frame before it is decoded; may change Data in place, shorten it, and set Link and Wire. Texts of the files are left out then
	Block    func(Block)          // called for every pcapng block without a packet, in its place between the frames
	Wait     func() bool          // called where the last file ends, which may grow, or be followed by another one of its rotation; false: no more is waited for. nil: a file ends where it ends
	Hash     bool                 // work out File.SHA256 on the first reading
	Copied   bool                 // never map a file: batches may be looked at outside of Guard
	Now      func() time.Time     // a clock, by which the cheaper way of getting at a large file is found, mapping or reading; nil: it is mapped
}

// Frame is a captured frame as it lies in its file.
type Frame struct {
	Link uint32 // LINKTYPE_ number
	Wire uint32 // length on the link
	Data []byte // what was captured, valid until the next Read
	Base uint32 // offset of Data in Batch.Buf, which Packet.Data counts from
	Told PacketBlock
}

// PacketBlock is what a pcapng file says of a frame beside its octets.
type PacketBlock struct {
	Known   bool   // the file is one
	Swap    bool   // its section is big-endian
	Index   uint32 // of the interface in the section
	Stamp   uint64 // time in the interface's units
	Options []byte // the block's option list, valid until the next Read
	FCS     uint32 // octets of a check sequence that were captured; they lie right behind Frame.Data
	WireFCS uint32 // and on the link
}

// Block is a block of a pcapng file that holds no packet.
type Block struct {
	Kind uint32
	Swap bool   // the section is big-endian
	Body []byte // without type and lengths; valid during the call
}

const (
	defaultMaxInput = 1 << 40
	bombSize        = 1 << 30 // from here on a file without TCP may not be
	bombRatio       = 1000    // so many times larger than its compressed form
)

// Set is the capture of one vantage point: one file, a stream, or several
// files in order. It is a Source. It serves one goroutine.
type Set struct {
	o     Options
	name  string
	paths []string
	step  naming // how the files of the set are numbered

	reader
	format container // of the file at hand; nil between files
	cur    int       // index of the file at hand, or of the next where format is nil
	in     input

	files  []File
	starts []tcp.Ordinal // ordinals before each file's first frame
	ended  tcp.Instant   // latest frame of the files before
	broken bool          // a file since then was not read to its end
	maps   bool          // large files are mapped
	shrunk bool          // the file at hand ended before its end, and that was told
	all    []Interval
	hosts  hostCount

	following *growing               // the last file, where more is waited for
	asLeft    map[string]fs.FileInfo // files that were followed, as they were left

	done   bool   // the reading reached the end
	first  []File // what the first whole reading found; nil during it
	closed bool
}

// Open opens the capture of the vantage point name: one path, or several that
// are read in that order as one rotated set. "-" is Options.Stdin. It fails
// where no file can be read as a capture; a FormatError says what it is
// instead. In a set, files that can't be read are told by Files.
func Open(o Options, name string, paths ...string) (*Set, error) {
	if len(paths) == 0 {
		return nil, errors.New("no capture file given")
	}
	if o.MaxInput == 0 {
		o.MaxInput = defaultMaxInput
	}
	s := &Set{o: o, name: name, paths: paths, step: namingOf(paths)}
	s.each, s.rewrite, s.other = o.Each, o.Rewrite, o.Block
	s.limit = o.MaxInput
	s.asIs = o.Each == nil && o.Rewrite == nil
	s.maps = s.asIs && !o.Hash && !o.Copied
	if err := s.begin(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Name returns the name of the vantage point.
func (s *Set) Name() string { return s.name }

// begin opens the first file that can be read.
func (s *Set) begin() error {
	s.files = make([]File, 0, len(s.paths))
	if s.first == nil {
		s.starts, s.all = make([]tcp.Ordinal, 0, len(s.paths)), nil
	}
	s.cur, s.ord, s.ended, s.broken, s.done = 0, 0, 0, false, false
	var first error
	for s.cur < len(s.paths) {
		err := s.openNext()
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// openNext opens the next file. Where that fails, the file is done with and
// the error is among its problems.
func (s *Set) openNext() error {
	path := s.paths[s.cur]
	s.files = append(s.files, File{Path: tcp.Untrusted(path)})
	if s.first == nil {
		s.starts = append(s.starts, s.ord)
	} else { // even where a file before became shorter
		s.ord = s.starts[s.cur]
	}
	s.file = &s.files[len(s.files)-1]
	s.frames, s.empty, s.lost, s.shrunk = 0, 0, 0, false
	s.ifaces, s.dec.undecoded, s.hosts, s.told = s.ifaces[:0], nil, hostCount{}, PacketBlock{}
	err := s.open(path)
	if err != nil {
		var format *FormatError
		s.problem(Problem{What: what(err), Fatal: true, Limit: errors.As(err, &format) && format.Limit})
		s.leave()
	}
	return err
}

// what returns an error without the path that it is about.
func what(err error) string {
	var format *FormatError
	if errors.As(err, &format) {
		return format.says()
	}
	var file *fileError
	if errors.As(err, &file) {
		err = file.err
	}
	return pathless(err).Error()
}

func (s *Set) open(path string) error {
	from, err := s.source(path)
	if err != nil {
		return err
	}
	s.in.raw = &counted{Reader: from}
	if s.o.Hash && s.first == nil {
		s.in.raw.sum = sha256.New()
	}
	head := make([]byte, sniffSize)
	n, err := io.ReadAtLeast(s.in.raw, head, pcapHeader)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return readError(path, err)
	}
	head = head[:n]
	name := compression(head)
	if name == "" {
		if s.maps && s.in.file != nil && s.large(s.in.file, s.in.size, s.o.Now) {
			return s.recognise(path, "")
		}
		s.reset(s.in.raw)
		s.end = copy(s.buf, head)
		return s.recognise(path, "")
	}
	u, err := unpack(name, bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), s.in.raw), inputBlock))
	if err != nil {
		return unreadable(path, err)
	}
	s.in.unpack = u
	s.reset(u)
	return s.recognise(path, name)
}

// recognise finds out what container the window begins with and starts it.
func (s *Set) recognise(path, packing string) error {
	s.want(pcapHeader)
	head := s.buf[s.at:s.end]
	open := openPcap
	switch {
	case isPcap(head):
	case isPcapng(head):
		open = openPcapng
	case hasPrefix(head, snoopMagic):
		open = openSnoop
	case s.err != nil && s.err != io.EOF:
		return unreadable(path, s.err)
	default:
		err := notCapture(path, head[:min(len(head), sniffSize)])
		if packing != "" {
			err.What = "inside " + packing + ": " + err.What
		}
		return err
	}
	format, name, err := open(&s.reader)
	if err != nil {
		return unreadable(path, err)
	}
	if packing != "" {
		name += ", " + packing
	}
	s.format, s.file.Format = format, name
	return nil
}

// leave closes the file at hand.
func (s *Set) leave() {
	s.sync()
	if s.in.raw != nil && s.first == nil {
		s.file.SHA256 = s.in.raw.digest(s.in.size >= 0)
	}
	if s.in.unpack != nil {
		s.in.unpack.close()
	}
	if s.window.file != nil {
		s.unmap()
		s.window.file, s.buf, s.spare = nil, s.spare, nil
	}
	if s.in.file != nil {
		s.in.file.Close()
	}
	s.in, s.format = input{size: -1}, nil
	s.broken = s.broken || !s.file.Complete
	s.cur++
}

// Close closes what is open. It need not be called after an error of Open.
func (s *Set) Close() error {
	if s.format != nil {
		s.leave()
	}
	s.closed = true
	return nil
}

// Read implements Source: packets of all files in order. With io.EOF the batch
// has no packets but may have Holes, those behind the last packet.
func (s *Set) Read(b *Batch) error {
	var err error
	for {
		cur, ord, frames := s.cur, s.ord, s.frames
		if s.Guard(func() { err = s.read(b) }) {
			return err
		}
		if s.ord = ord; s.cur != cur {
			frames = 0
		}
		s.frames = frames // the batch begins anew, by reading
	}
}

func (s *Set) read(b *Batch) error {
	b.N, b.Sorted, b.Buf, b.Start, b.Holes, b.Bare.N = 0, 0, nil, 0, nil, 0
	b.Bare.Wanted = b.Bare.Wanted && s.first == nil
	s.holes = s.holes[:0]
	for !s.closed {
		if s.format == nil {
			if s.cur >= len(s.paths) && !s.follow() {
				break
			}
			_ = s.openNext() // an error is among the file's problems
			continue
		}
		fresh := s.frames == 0
		need, err := s.format.records(&s.reader, b)
		s.trim(b)
		switch {
		case b.Len() > 0:
			s.deliver(b, fresh)
			return nil
		case err != nil:
			s.damage(err)
		case s.capped():
			s.file.Complete = true
			s.leave()
		case s.overLimit():
		case !s.want(need) && !s.overLimit():
			s.finish(need)
		}
	}
	if b.Holes = s.holes; !s.done {
		s.remember(b.Holes)
	}
	s.done = true
	return io.EOF
}

// trim ends a second reading of a file where the first one ended: the file may
// have grown since.
func (s *Set) trim(b *Batch) {
	if s.first == nil {
		return
	}
	if limit := s.first[s.cur].Frames; s.frames > limit {
		excess := min(s.frames-limit, uint64(b.N))
		b.N -= int(excess)
		s.ord -= tcp.Ordinal(excess)
		s.frames = limit
	}
}

func (s *Set) capped() bool { return s.first != nil && s.frames >= s.first[s.cur].Frames }

// deliver completes a batch that has packets; fresh says that the file's first
// is among them.
func (s *Set) deliver(b *Batch, fresh bool) {
	b.Buf, b.Start = s.buf[:s.end], s.start
	b.Sorted = min(b.Sorted, b.N)
	if fresh && s.ended != 0 {
		s.join(b)
	}
	s.broken = false
	s.account(b)
	b.Holes = s.holes
	s.remember(b.Holes)
}

// join looks at the seam between two files of the set: what lies between them
// was not recorded, unless their names say that nothing is missing.
func (s *Set) join(b *Batch) {
	p := &b.Pkts[0]
	switch {
	case p.At == 0:
	case p.At < s.ended:
		p.Note |= NoteClockStep
		s.problem(Problem{What: fmt.Sprintf("begins %v before the file before it ends", s.ended.Sub(p.At))})
	case s.broken:
		s.hole(s.ended, p.At, WhyDamaged)
	case !s.step.follows(s.paths[s.cur-1], s.paths[s.cur]):
		s.hole(s.ended, p.At, WhyRotation)
	}
}

// maxHoles bounds the holes that a set remembers; later ones widen the last.
const maxHoles = 65_536

func (s *Set) remember(holes []Interval) {
	if s.first != nil {
		return
	}
	for _, h := range holes {
		if last := len(s.all) - 1; len(s.all) >= maxHoles {
			s.all[last].From = min(s.all[last].From, h.From)
			s.all[last].To = max(s.all[last].To, h.To)
			continue
		}
		s.all = append(s.all, h)
	}
}

// Files returns what is known of each file so far; after a Rewind, what the
// first whole reading found.
func (s *Set) Files() []File {
	if s.first != nil {
		return s.first
	}
	if s.format != nil {
		s.file.Frames, s.file.Undecoded = s.frames, s.dec.undecoded
	}
	return s.files
}

// Holes returns what was not recorded, as far as it is known so far.
func (s *Set) Holes() []Interval { return s.all }

// Frame returns where an ordinal comes from: the index of the file and the
// frame's number in it, from 1, as Wireshark counts. Of an ordinal not read
// yet the file is -1.
func (s *Set) Frame(o tcp.Ordinal) (file int, frame uint64) {
	if o == 0 {
		return -1, 0
	}
	i := sort.Search(len(s.starts), func(i int) bool { return s.starts[i] >= o }) - 1
	if i < 0 {
		return -1, 0
	}
	frame = uint64(o - s.starts[i])
	if frame > s.Files()[i].Frames {
		return -1, 0
	}
	return i, frame
}

// Rewind starts a second reading, which ends where the first one ended. Files
// keep what the first reading found. A stream can't be read twice.
func (s *Set) Rewind() error {
	if s.closed {
		return errors.New("the capture is closed")
	}
	for i := range s.files {
		path := s.paths[i]
		if path == "-" {
			return &fileError{path, errStream}
		}
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return &fileError{path, errStream}
		}
	}
	if s.format != nil {
		s.leave()
	}
	if s.done && s.first == nil {
		s.first = s.files
	}
	return s.begin()
}

var errStream = errors.New("a stream cannot be read twice")
