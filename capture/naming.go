package capture

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scheme is a way to name the files of a rotation.
type scheme uint8

const (
	plainName scheme = iota
	numbered         // tcpdump -C: out, out1, out2; with -W out0, out1, also wrapping around
	ring             // dumpcap -b: out_00001_20260131120000.pcapng, or time and number swapped
	stamped          // tcpdump -G: a time by strftime somewhere in the name
)

// fileName is a file name as a rotation's.
type fileName struct {
	scheme scheme
	stem   string // what the files of one rotation share, directory included
	num    uint64
	stamp  int64 // seconds
}

var (
	ringName        = compiled(`^(.*)_(\d{5,9})_(\d{14})(\.[^.]*)?$`)
	ringSwap        = compiled(`^(.*)_(\d{14})_(\d{5,9})(\.[^.]*)?$`)
	stampName       = compiled(`(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?:[-_.T]?([0-2]\d)(?:[-_.:]?([0-5]\d)(?:[-_.:]?([0-6]\d))?)?)?`)
	epochName       = compiled(`(?:^|\D)(1\d{9})(?:\D|$)`)
	extensionNumber = compiled(`^(\.[a-z]+)(\d{1,9})$`)
	numberName      = compiled(`^(.*\D)(\d{1,9})$`)
)

// compiled is an expression that is compiled when first asked for: most runs
// never are.
func compiled(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// packingSuffixes are taken off before a name is looked at.
var packingSuffixes = []string{".gz", ".zst", ".xz", ".lz4", ".bz2"}

// parseName reads a path as tcpdump and dumpcap name rotated files.
func parseName(path string) fileName {
	dir, name := filepath.Split(path)
	for _, suffix := range packingSuffixes {
		name = strings.TrimSuffix(name, suffix)
	}
	if m := ringName().FindStringSubmatch(name); m != nil {
		return fileName{scheme: ring, stem: dir + m[1] + m[4], num: number(m[2])}
	}
	if m := ringSwap().FindStringSubmatch(name); m != nil {
		return fileName{scheme: ring, stem: dir + m[1] + m[4], num: number(m[3])}
	}
	if m := stampName().FindStringSubmatchIndex(name); m != nil {
		var digits strings.Builder
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				digits.WriteString(name[m[g]:m[g+1]])
			}
		}
		if t, err := time.Parse("20060102150405"[:digits.Len()], digits.String()); err == nil {
			return stampedName(dir+name[:m[0]], name[m[1]:], t.Unix())
		}
	}
	if m := epochName().FindStringSubmatchIndex(name); m != nil {
		return stampedName(dir+name[:m[2]], name[m[3]:], int64(number(name[m[2]:m[3]])))
	}
	if m := numberName().FindStringSubmatch(name); m != nil {
		return fileName{scheme: numbered, stem: dir + m[1], num: number(m[2])}
	}
	return fileName{scheme: plainName, stem: dir + name}
}

// stampedName is the name of a file with a time between two parts. With
// tcpdump -G and -C together a number follows the extension.
func stampedName(before, after string, stamp int64) fileName {
	n := fileName{scheme: stamped, stamp: stamp}
	if m := extensionNumber().FindStringSubmatch(after); m != nil {
		after, n.num = m[1], number(m[2])
	}
	n.stem = before + "\x00" + after
	return n
}

func number(digits string) uint64 {
	n, _ := strconv.ParseUint(digits, 10, 64)
	return n
}

// family is what all files of one rotation have in common: the first file of
// tcpdump -C has no number.
func (n fileName) family() fileName {
	if n.scheme == plainName {
		n.scheme = numbered
	}
	return fileName{scheme: n.scheme, stem: n.stem}
}

// sibling reports whether two names can be files of one rotation.
func (n fileName) sibling(m fileName) bool {
	return n.family() == m.family() && n != m
}

// plainly reports whether nobody but a rotation names a file like this:
// out.pcap3, but not host3.
func (n fileName) plainly() bool {
	return n.scheme > numbered || strings.Contains(filepath.Base(n.stem), ".")
}

// naming is what the names of a set's files tell about gaps in it.
type naming struct {
	names    map[string]fileName
	min, max uint64 // numbers
	period   int64  // seconds between stamped names; 0 where not clear
}

// namingOf looks at the names of a set's files.
func namingOf(paths []string) naming {
	n := naming{names: make(map[string]fileName, len(paths))}
	steps := make(map[int64]int)
	var before fileName
	for i, path := range paths {
		name := parseName(path)
		n.names[path] = name
		if i == 0 {
			n.min, n.max = name.num, name.num
		}
		n.min, n.max = min(n.min, name.num), max(n.max, name.num)
		if i > 0 && name.scheme == stamped && name.sibling(before) && name.stamp > before.stamp {
			steps[name.stamp-before.stamp]++
		}
		before = name
	}
	for step, times := range steps {
		if times > 1 && (n.period == 0 || step < n.period) { // twice the same: a timer
			n.period = step
		}
	}
	return n
}

// follows reports whether the names say that no file is missing between two.
func (n naming) follows(before, after string) bool {
	a, b := n.names[before], n.names[after]
	switch {
	case !a.sibling(b):
		return false
	case a.scheme == stamped && a.stamp == b.stamp:
		return b.num == a.num+1
	case a.scheme == stamped:
		return n.period != 0 && b.stamp-a.stamp == n.period
	case b.num == a.num+1:
		return true
	}
	return a.num == n.max && b.num == n.min && n.max-n.min+1 == uint64(len(n.names)) // a ring that wrapped around
}
