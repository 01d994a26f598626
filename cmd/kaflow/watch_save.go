package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kaflow/analyzer"
	"kaflow/flows"
	"kaflow/internal/rewrite"
	"kaflow/monitor"
	"kaflow/render"
	"kaflow/tcp"
)

// saver keeps the proof of deaths: for each, the recent headers of the
// connection as pcapng with comments, and the report on it. Files are written
// beside the capture, so that a slow disk does not hold it up.
type saver struct {
	a        *app
	dir      string
	recorder *monitor.Recorder
	most     int   // deaths to keep
	octets   int64 // of all files
	queue    chan proof
	done     chan struct{}
	skipped  atomic.Uint64 // deaths without proof: more than the disk takes
	failures atomic.Uint64
	saying   sync.Mutex
	said     time.Time // when a failure was last told
	second   tcp.Instant
	inSecond int
}

// proof is what is written of one death.
type proof struct {
	name         string
	pcap, report []byte
}

// Bounds of what a storm of deaths may cost.
const (
	recorderOctets = 64 << 20
	proofsWaiting  = 32
	proofsASecond  = 50
	failureEvery   = time.Minute
)

// newSaver reads --save and its limits; nil where it is not asked for.
func (a *app) newSaver(f *watchFlags) (*saver, error) {
	if f.save == "" {
		if f.saveMost != 0 || f.saveOctets != "" {
			return nil, usageError{"--save-max and --save-size need --save DIR"}
		}
		return nil, nil
	}
	s := &saver{a: a, dir: f.save, most: f.saveMost, octets: 100 << 20, recorder: monitor.NewRecorder(recorderOctets), queue: make(chan proof, proofsWaiting), done: make(chan struct{})}
	if s.most == 0 {
		s.most = 100
	}
	if s.most < 0 {
		return nil, usageError{fmt.Sprintf("--save-max %d: want a number of deaths", s.most)}
	}
	if f.saveOctets != "" {
		var err error
		if s.octets, err = parseOctets("--save-size", f.saveOctets); err != nil {
			return nil, err
		}
	}
	if info, err := os.Stat(s.dir); err != nil {
		return nil, outputError{fmt.Errorf("--save %s: %w", s.dir, cause(err))}
	} else if !info.IsDir() {
		return nil, outputError{fmt.Errorf("--save %s: is no directory", s.dir)}
	}
	return s, nil
}

// start begins to write, once it is known that the folder can be written to.
func (s *saver) start() error {
	probe, err := os.CreateTemp(s.dir, ".kaflow-*")
	if err != nil {
		return outputError{fmt.Errorf("--save %s: %w", s.dir, cause(err))}
	}
	probe.Close()
	os.Remove(probe.Name())
	go func() {
		defer close(s.done)
		for p := range s.queue {
			s.write(p)
		}
	}()
	return nil
}

// finish writes what waits, for five seconds at most.
func (s *saver) finish() {
	close(s.queue)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		s.a.complain("--save %s: not everything was written", s.dir)
	}
	if n := s.skipped.Load(); n > 0 {
		s.a.hint("--save: %d deaths came faster than their proof could be written, and have none", n)
	}
}

// died takes the proof of a death.
func (s *saver) died(e *monitor.Engine, f *flows.Flow) {
	now := e.Table.Now()
	if s.inSecond++; now.Sub(s.second) >= time.Second {
		s.second, s.inSecond = now, 1
	}
	if s.inSecond > proofsASecond || len(s.queue) == cap(s.queue) {
		s.skipped.Add(1)
		return
	}
	kept := s.recorder.Of(f.Key)
	point := e.Point()
	point.Frame = func(o tcp.Ordinal) (int, uint64) { // frames as the saved capture has them
		i, found := slices.BinarySearchFunc(kept, o, func(k monitor.Kept, o tcp.Ordinal) int { return cmp.Compare(k.Ord, o) })
		if !found {
			return -1, 0
		}
		return 0, uint64(i) + 1
	}
	name := proofName(now, f)
	point.Name = name + ".pcapng"
	report, ok := analyzer.OneReport(point, f.ID, analyzer.Options{Tool: version()})
	if !ok {
		return
	}
	for i := range report.Flows[0].Filters { // it is the only connection of the saved capture
		x := &report.Flows[0].Filters[i]
		x.Expr = strings.Replace(x.Expr, fmt.Sprintf("tcp.stream eq %d", f.Stream), "tcp.stream eq 0", 1)
	}
	zone, err := s.a.flags.location()
	if err != nil {
		zone = time.UTC
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "Frames are numbered as in %s.pcapng, which holds headers of this connection alone.\n\n", name)
	if err := render.Text(&text, report, render.Options{Location: zone, ASCII: s.a.flags.ascii, All: true}); err != nil {
		s.fail(err)
		return
	}
	pcap, err := annotated(kept, report)
	if err != nil {
		s.fail(err)
		return
	}
	s.queue <- proof{name, pcap, text.Bytes()} // there is room, and nobody else sends
}

// annotated returns kept frames as pcapng, with what the report says of them.
func annotated(kept []monitor.Kept, report *analyzer.Report) ([]byte, error) {
	says := evidence(report, 0)
	var out bytes.Buffer
	w := rewrite.NewWriter(&out, "kaflow "+version(), verdictLines(report)...)
	for i := range kept {
		k := &kept[i]
		p := rewrite.Packet{Iface: k.Iface, Link: k.Link, At: k.At, Data: k.Data, Wire: k.Wire, Comments: slices.Clone(says[k.Ord])}
		if k.Label && !ordinary(k.Kind) {
			p.Comments = append(p.Comments, "kaflow: "+k.Kind.String())
		}
		if i > 0 && i == skipAt(kept) {
			p.Comments = append(p.Comments, "kaflow: segments between this frame and the one before were not kept")
		}
		if err := w.Write(&p); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// skipAt returns the first frame behind those that were replaced; 0: none were.
func skipAt(kept []monitor.Kept) int {
	if len(kept) < monitor.MostKept {
		return 0
	}
	return monitor.FirstKept
}

// proofName names the files of a death after its time and its ends.
func proofName(at tcp.Instant, f *flows.Flow) string {
	end := func(s *flows.Side) string {
		return strings.NewReplacer(":", "_", "%", "_", "/", "_").Replace(s.Addr.Addr().Unmap().String()) + "-" + fmt.Sprint(s.Addr.Port())
	}
	return fmt.Sprintf("kaflow-%s-%s-%s", at.Time().UTC().Format("20060102T150405.000Z"), end(&f.Sides[flows.Client]), end(&f.Sides[flows.Server]))
}

// proofFile matches the names of files that are ours to remove.
const proofFile = `^(kaflow-\d{8}T\d{6}\.\d{3}Z-[0-9a-f._]+-\d+-[0-9a-f._]+-\d+)\.(pcapng|txt)$`

// write writes the files of a death, each whole or not at all, and removes the
// oldest ones beyond the limits.
func (s *saver) write(p proof) {
	for _, file := range []struct {
		suffix string
		text   []byte
	}{{".pcapng", p.pcap}, {".txt", p.report}} {
		if err := writeWhole(filepath.Join(s.dir, p.name+file.suffix), file.text); err != nil {
			s.fail(err)
			return
		}
	}
	if err := s.prune(); err != nil {
		s.fail(err)
	}
}

// fail counts a failure, and tells of it once a minute at most.
func (s *saver) fail(err error) {
	s.failures.Add(1)
	s.saying.Lock()
	defer s.saying.Unlock()
	if now := time.Now(); s.said.IsZero() || now.Sub(s.said) > failureEvery {
		s.said = now
		s.a.complain("--save %s: %v; watching goes on", s.dir, cause(err))
	}
}

// writeWhole gives a file its content, so that it appears whole or not at all,
// readable for its owner alone.
func writeWhole(path string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".kaflow-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(temp)
	_, err = io.Copy(w, bytes.NewReader(text))
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = temp.Sync()
	}
	if closed := temp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}

// prune removes the oldest deaths until number and size are within their
// limits. The newest stays in any case.
func (s *saver) prune() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	type death struct {
		files []string
		size  int64
	}
	ours := regexp.MustCompile(proofFile)
	deaths, size := map[string]death{}, int64(0)
	var names []string
	for _, entry := range entries {
		m := ours.FindStringSubmatch(entry.Name())
		info, err := entry.Info()
		if m == nil || err != nil || !info.Mode().IsRegular() {
			continue
		}
		d, known := deaths[m[1]]
		if !known {
			names = append(names, m[1])
		}
		d.files, d.size = append(d.files, entry.Name()), d.size+info.Size()
		deaths[m[1]] = d
		size += info.Size()
	}
	slices.Sort(names) // they begin with their time
	for ; len(names) > 1 && (len(names) > s.most || size > s.octets); names = names[1:] {
		for _, file := range deaths[names[0]].files {
			if err := os.Remove(filepath.Join(s.dir, file)); err != nil {
				return err
			}
		}
		size -= deaths[names[0]].size
	}
	return nil
}
