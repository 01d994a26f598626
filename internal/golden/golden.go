// Package golden compares an output with the file that holds what it should
// be. It answers "did what the user reads change?"; go test with -update
// rewrites the files, and the diff is what gets reviewed.
package golden

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update is registered at import: the package is linked into test binaries only.
var update = flag.Bool("update", false, "rewrite the golden files")

// Updating reports whether -update was given.
func Updating() bool { return *update }

// Compare fails the test where got differs from the file testdata/name; under
// -update it rewrites the file.
func Compare(t *testing.T, name string, got []byte) {
	t.Helper()
	compare(t, name, got, *update)
}

func compare(t *testing.T, name string, got []byte, update bool) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s does not exist; go test -update writes it", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}
