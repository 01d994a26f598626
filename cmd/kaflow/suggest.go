package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

// nearby is the edit distance up to which a word is taken for a mistyped command.
const nearby = 2

// suggest returns an error where word is no file and nearly a command.
func suggest(root *cobra.Command, word string) error {
	if _, err := os.Lstat(word); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	best, distance := "", nearby+1
	for _, c := range root.Commands() {
		if d := editDistance(word, c.Name()); d < distance {
			best, distance = c.Name(), d
		}
	}
	if best == "" {
		return nil
	}
	return usageError{fmt.Sprintf("%s: no such file or command; did you mean %q?", word, best)}
}

// editDistance is the number of letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
