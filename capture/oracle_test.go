package capture

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sharedPcaps returns the directory of captures made by others, or skips.
func sharedPcaps(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "pcaps")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the captures made by others are not there: not compared with tshark")
	}
	return dir
}

// expected is a row of expected.tsv, what tshark says of a file.
type expected struct {
	file    string
	packets uint64
	status  string
}

func expectedRows(t testing.TB, dir string) (rows []expected) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	columns := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		if len(columns) == 0 {
			for i, name := range fields {
				columns[name] = i
			}
			continue
		}
		packets, err := strconv.ParseUint(fields[columns["packets"]], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, expected{fields[columns["file"]], packets, fields[columns["status"]]})
	}
	return rows
}

// drain reads a set to its end and returns what it knows of its only file.
func drain(t testing.TB, s *Set) File {
	t.Helper()
	var b Batch
	for {
		err := s.Read(&b)
		if errors.Is(err, io.EOF) {
			return s.Files()[len(s.Files())-1]
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFrameCountsAreTsharks(t *testing.T) {
	dir := sharedPcaps(t)
	for _, row := range expectedRows(t, dir) {
		s, err := Open(Options{}, "", filepath.Join(dir, row.file))
		if err != nil {
			t.Errorf("%s: %v (tshark: %d packets, %s)", row.file, err, row.packets, row.status)
			continue
		}
		f := drain(t, s)
		s.Close()
		switch {
		case row.status == "unsupported": // tshark doesn't know the link type; the records are fine
		case f.Frames != row.packets:
			t.Errorf("%s: %d frames, tshark has %d (%s); problems %v", row.file, f.Frames, row.packets, row.status, f.Problems)
		case f.Complete != (row.status == "ok"):
			t.Errorf("%s: complete %v, tshark says %s; problems %v", row.file, f.Complete, row.status, f.Problems)
		}
	}
}
