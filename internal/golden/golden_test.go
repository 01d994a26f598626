package golden

import (
	"os"
	"testing"
)

func TestWhatWasWrittenIsWanted(t *testing.T) {
	t.Chdir(t.TempDir())
	compare(t, "deep/er.txt", []byte("a\n"), true)
	compare(t, "deep/er.txt", []byte("a\n"), false)
	if got, err := os.ReadFile("testdata/deep/er.txt"); err != nil || string(got) != "a\n" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}
