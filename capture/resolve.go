package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kaflow/tcp"
)

// Vantage is one vantage point as the command line names it.
type Vantage struct {
	Name  string   // as given before "=", else made of the file's or directory's name; no two are alike
	Paths []string // files of one rotation, in time order; "-" is standard input
	Named bool     // the user gave the name
	Note  string   // how it came to be several files; may be empty
}

// Resolve turns command-line arguments into vantage points, with hints on what
// was decided. An argument is a file, a directory, a glob pattern, a comma
// list, "-", or any of them behind "name="; a path that exists is taken before
// any of that. Directories, patterns and comma lists are rotated sets, ordered
// by their first packets; a directory of unrelated captures is taken file by
// file. Files given one by one become one set where they are plainly one
// rotation. Errors begin with the argument at fault.
func Resolve(args []string) (points []Vantage, hints []string, err error) {
	r := resolver{peeks: make(map[string]*peek)}
	for _, arg := range args {
		if err := r.argument(arg); err != nil {
			return nil, r.hints, err
		}
	}
	r.joinRotations()
	if err := r.distinct(); err != nil {
		return nil, r.hints, err
	}
	for i := range r.points {
		points = append(points, r.points[i].Vantage)
	}
	return points, r.hints, nil
}

// ResolveFiles expands command-line arguments to single files, in the order
// given, those of a directory by name. What is no capture in a directory is
// left out; the hints count it.
func ResolveFiles(args []string) (files []string, hints []string, err error) {
	for _, arg := range args {
		target := arg
		kind := kindOf(arg)
		if kind == missing {
			if _, rest, named := splitName(arg); named {
				target, kind = rest, kindOf(rest)
			}
		}
		paths, skipped, err := expand(target, kind)
		if err != nil {
			return nil, hints, err
		}
		hints = append(hints, skippedHint(target, skipped)...)
		files = append(files, paths...)
	}
	return files, hints, nil
}

// argumentKind says what an argument names.
type argumentKind uint8

const (
	missing argumentKind = iota
	stdin
	singleFile
	directory
	pattern
	commaList
)

func kindOf(arg string) argumentKind {
	if arg == "-" {
		return stdin
	}
	if info, err := os.Stat(arg); err == nil {
		if info.IsDir() {
			return directory
		}
		return singleFile
	}
	switch {
	case strings.Contains(arg, ",") && !strings.Contains(strings.SplitN(arg, ",", 2)[0], "="):
		return commaList
	case strings.ContainsAny(arg, "*?[") && !strings.Contains(arg, "="):
		return pattern
	}
	return missing
}

// splitName splits "name=FILE".
func splitName(arg string) (name, rest string, named bool) {
	name, rest, named = strings.Cut(arg, "=")
	return name, rest, named && name != "" && rest != ""
}

// expand returns the files that an argument stands for, and how many were
// left out because they are no captures.
func expand(arg string, kind argumentKind) (paths []string, skipped int, err error) {
	switch kind {
	case stdin, singleFile:
		return []string{arg}, 0, nil
	case directory:
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, 0, readError(arg, err)
		}
		for _, e := range entries { // sorted by name
			paths = append(paths, filepath.Join(arg, e.Name()))
		}
		paths, skipped = captures(paths)
		if len(paths) == 0 {
			return nil, 0, fmt.Errorf("%s: no capture in this directory%s", shown(arg), others(skipped))
		}
	case pattern:
		paths, err = filepath.Glob(arg)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("%s: not a pattern: %w", shown(arg), err)
		case len(paths) == 0:
			return nil, 0, fmt.Errorf("%s: no file matches", shown(arg))
		}
		paths, skipped = captures(paths)
		if len(paths) == 0 {
			return nil, 0, fmt.Errorf("%s: no capture among what matches%s", shown(arg), others(skipped))
		}
	case commaList:
		for part := range strings.SplitSeq(arg, ",") {
			inner := kindOf(part)
			if part == "" || inner == stdin || inner == commaList {
				return nil, 0, fmt.Errorf("%s: %q is no file", shown(arg), part)
			}
			more, skips, err := expand(part, inner)
			if err != nil {
				return nil, 0, err
			}
			paths, skipped = append(paths, more...), skipped+skips
		}
	default:
		_, err := os.Stat(arg)
		return nil, 0, readError(arg, err)
	}
	return paths, skipped, nil
}

func others(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return " (1 file is something else)"
	}
	return fmt.Sprintf(" (%d files are something else)", n)
}

func skippedHint(arg string, skipped int) []string {
	switch skipped {
	case 0:
		return nil
	case 1:
		return []string{shown(arg) + ": 1 file skipped that is no capture"}
	}
	return []string{fmt.Sprintf("%s: %d files skipped that are no captures", shown(arg), skipped)}
}

// captures returns those of the paths that are captures by their content, and
// how many files are not. Directories are not counted.
func captures(paths []string) (found []string, skipped int) {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
		case err == nil && info.Mode().IsRegular() && isCapture(path):
			found = append(found, path)
		default:
			skipped++
		}
	}
	return found, skipped
}

// isCapture reports whether a file begins as a capture does, compressed or not.
func isCapture(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, sniffSize)
	n, _ := io.ReadFull(f, head)
	head = head[:n]
	if name := compression(head); name != "" {
		u, err := unpack(name, bufio.NewReader(io.MultiReader(bytes.NewReader(head), f)))
		if err != nil {
			return false
		}
		defer u.close()
		head = make([]byte, pcapHeader)
		n, _ = io.ReadFull(u, head)
		head = head[:n]
	}
	return isPcap(head) || isPcapng(head) || hasPrefix(head, snoopMagic)
}

// resolver collects vantage points.
type resolver struct {
	points []point
	hints  []string
	peeks  map[string]*peek
}

// point is a Vantage and how it was given.
type point struct {
	Vantage
	alone bool // one file, given by itself and without a name
}

func (r *resolver) argument(arg string) error {
	name, target, named := "", arg, false
	kind := kindOf(arg)
	if kind == missing {
		if n, rest, ok := splitName(arg); ok {
			name, target, named, kind = n, rest, true, kindOf(rest)
		}
	}
	paths, skipped, err := expand(target, kind)
	if err != nil {
		return err
	}
	r.hints = append(r.hints, skippedHint(target, skipped)...)
	switch kind {
	case stdin, singleFile:
		if !named {
			name = filepath.Base(target)
		}
		r.points = append(r.points, point{Vantage{Name: name, Paths: paths, Named: named}, kind == singleFile && !named})
	case directory:
		groups := r.related(paths)
		if named && len(groups) > 1 {
			r.hint("%s: taken as one rotation, although its files look unrelated", shown(target))
			groups = [][]string{r.inTime(paths)}
		}
		if len(groups) > 1 {
			r.hint("%s: %d vantage points, since its files are not one rotation", shown(target), len(groups))
		}
		for _, g := range groups {
			p := r.set(name, target, g, named)
			if len(groups) > 1 {
				p.Name = filepath.Base(g[0])
			}
			r.points = append(r.points, p)
		}
	default:
		r.points = append(r.points, r.set(name, target, r.inTime(paths), named))
	}
	return nil
}

func (r *resolver) hint(format string, values ...any) {
	r.hints = append(r.hints, fmt.Sprintf(format, values...))
}

// set returns a vantage point of several files.
func (r *resolver) set(name, target string, paths []string, named bool) point {
	if !named {
		name = filepath.Base(target)
	}
	p := point{Vantage: Vantage{Name: name, Paths: paths, Named: named}}
	if len(paths) > 1 {
		p.Note = fmt.Sprintf("%d files, taken as one rotation", len(paths))
	}
	return p
}

// inTime orders files by their first packets, those without one at the end.
func (r *resolver) inTime(paths []string) []string {
	sorted := slices.Clone(paths)
	slices.SortStableFunc(sorted, func(a, b string) int {
		x, y := r.peek(a, false).first, r.peek(b, false).first
		switch {
		case x == y:
			return 0
		case x == 0:
			return 1
		case y == 0 || x < y:
			return -1
		}
		return 1
	})
	return sorted
}

// related groups the captures of a directory: files whose names are those of
// one rotation, or that go on from one to the next, are a set.
func (r *resolver) related(paths []string) (groups [][]string) {
	place := make(map[fileName]int)
	for _, path := range paths {
		family := parseName(path).family()
		i, known := place[family]
		if !known {
			place[family] = len(groups)
			groups = append(groups, []string{path})
			continue
		}
		groups[i] = append(groups[i], path)
	}
	if len(groups) == len(paths) && len(paths) > 1 { // names say nothing
		if ordered := r.inTime(paths); r.chain(ordered) == "" {
			return [][]string{ordered}
		}
		return groups
	}
	var apart [][]string
	for _, g := range groups {
		g = r.inTime(g)
		if len(g) > 1 && r.overlap(g) {
			for _, path := range g {
				apart = append(apart, []string{path})
			}
			continue
		}
		apart = append(apart, g)
	}
	return apart
}

// overlap reports whether files of one rotation by name were captured at the
// same time, or on different links: host1 and host2 rather than parts 1 and 2.
// Where the names leave no doubt, the files are not read through for that.
func (r *resolver) overlap(ordered []string) bool {
	for i, path := range ordered[1:] {
		a := r.peek(ordered[i], !parseName(ordered[i]).plainly())
		b := r.peek(path, false)
		if a.last != 0 && b.first != 0 && b.first < a.last || a.first != 0 && b.first != 0 && a.link != b.link {
			return true
		}
	}
	return false
}

// joinRotations makes one vantage point of files given one by one that are
// plainly one rotation. In doubt they stay apart, with a hint.
func (r *resolver) joinRotations() {
	for i := 0; i < len(r.points); i++ {
		if !r.points[i].alone {
			continue
		}
		paths, members := []string{r.points[i].Paths[0]}, []int{i}
		for j := i + 1; j < len(r.points); j++ {
			if r.points[j].alone && siblings(paths, r.points[j].Paths[0]) {
				paths, members = append(paths, r.points[j].Paths[0]), append(members, j)
			}
		}
		if len(paths) == 1 {
			continue
		}
		for _, j := range members {
			r.points[j].alone = false
		}
		paths = r.inTime(paths)
		if doubt := r.chain(paths); doubt != "" {
			r.hint("%s are named like one rotation but taken as separate vantage points: %s; to join them write %s",
				listed(paths), doubt, shown(strings.Join(paths, ",")))
			continue
		}
		r.hint("%s are taken as one rotation; to keep them apart write name=FILE for each", listed(paths))
		r.points[i] = r.set("", paths[0], paths, false)
		for _, j := range slices.Backward(members[1:]) {
			r.points = slices.Delete(r.points, j, j+1)
		}
	}
}

// siblings reports whether a path is named as one more of a rotation's files.
func siblings(paths []string, path string) bool {
	name := parseName(path)
	return slices.ContainsFunc(paths, func(p string) bool { return p != path && name.sibling(parseName(p)) })
}

// listed names files: all of a few, else the first and the last.
func listed(paths []string) string {
	if len(paths) <= 3 {
		shownPaths := make([]string, len(paths))
		for i, p := range paths {
			shownPaths[i] = shown(p)
		}
		return strings.Join(shownPaths, ", ")
	}
	return fmt.Sprintf("%s to %s (%d files)", shown(paths[0]), shown(paths[len(paths)-1]), len(paths))
}

// maxSeam is how long after the last packet of a file the next one of a
// rotation begins at the latest.
const maxSeam = time.Minute

// chain says why files in time order are not plainly one rotation: not of one
// link type and snap length, overlapping, further apart than a minute, or
// without a flow that goes on. "" means they are.
func (r *resolver) chain(paths []string) string {
	for i, path := range paths[1:] {
		before, next := r.peek(paths[i], false), r.peek(path, false)
		switch {
		case before.link != next.link || before.snap != next.snap:
			return "link types or snap lengths differ"
		case before.first == 0 || next.first == 0:
			return "one of them holds no packet"
		}
		before = r.peek(paths[i], true)
		switch seam := next.first.Sub(before.last); {
		case seam < 0:
			return "they overlap in time"
		case seam > maxSeam:
			return fmt.Sprintf("%v lie between them", seam.Round(time.Second))
		case !before.goesOn(next):
			return "no flow goes on from one to the next"
		}
	}
	return ""
}

// distinct gives every vantage point a name of its own.
func (r *resolver) distinct() error {
	count := make(map[string]int)
	streams := 0
	for i := range r.points {
		count[r.points[i].Name]++
		if r.points[i].Paths[0] == "-" {
			streams++
		}
	}
	if streams > 1 {
		return errors.New("-: standard input can be read only once")
	}
	for i := range r.points {
		p := &r.points[i]
		if count[p.Name] == 1 {
			continue
		}
		if p.Named {
			return fmt.Errorf("%s: the name is given %d times; to join files write %s=FILE,FILE", shown(p.Name), count[p.Name], p.Name)
		}
		p.Name = p.Paths[0]
	}
	seen := make(map[string]int)
	for i := range r.points {
		p := &r.points[i]
		if seen[p.Name]++; seen[p.Name] > 1 {
			r.hint("%s is given more than once", shown(p.Name))
			p.Name = fmt.Sprintf("%s#%d", p.Name, seen[p.Name])
		}
	}
	return nil
}

// peek is what a look into a file tells for telling rotations from vantage
// points.
type peek struct {
	link, snap  uint32
	first, last tcp.Instant // last is 0 unless the whole file was read
	heads       []Key       // flows of the first packets
	tails       []Key       // flows of the last packets
}

// peekKeys is how many packets at either end are looked at for flows that go
// on.
const peekKeys = 4096

// peek looks at the beginning of a file, or at all of it. A file that can't be
// read has no packets.
func (r *resolver) peek(path string, whole bool) *peek {
	if p := r.peeks[path]; p != nil && (!whole || p.tails != nil) {
		return p
	}
	p := &peek{}
	r.peeks[path] = p
	s, err := Open(Options{}, "", path)
	if err != nil {
		return p
	}
	defer s.Close()
	var b Batch
	next := 0
	for s.Read(&b) == nil {
		for i := range b.Pkts[:b.N] {
			if b.Pkts[i].Proto != TCP {
				continue
			}
			k := b.Pkts[i].Key
			if len(p.heads) < peekKeys {
				p.heads = append(p.heads, k)
			}
			switch {
			case !whole:
			case len(p.tails) < peekKeys:
				p.tails = append(p.tails, k)
			default:
				p.tails[next] = k
				next = (next + 1) % peekKeys
			}
		}
		if !whole && (len(p.heads) >= peekKeys || s.frames >= 4*peekKeys) {
			break
		}
	}
	f := s.Files()[0]
	p.first = f.First
	if len(f.Interfaces) > 0 {
		p.link, p.snap = f.Interfaces[0].LinkType, f.Interfaces[0].SnapLen
	}
	if whole {
		p.last = f.Last
		if p.tails == nil {
			p.tails = []Key{}
		}
	}
	return p
}

// goesOn reports whether a flow of the last packets is among the first of the
// next file.
func (p *peek) goesOn(next *peek) bool {
	keys := make(map[Key]bool, len(p.tails))
	for _, k := range p.tails {
		keys[k] = true
	}
	return slices.ContainsFunc(next.heads, func(k Key) bool { return keys[k] })
}
