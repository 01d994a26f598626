package main

import (
	"os"
	"path/filepath"
)

// openOne opens one file by itself; an error is printed.
func (a *app) files(args []string) ([]string, error) {
	args, err := a.inputs(args)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, arg := range args {
		entries, err := os.ReadDir(arg)
		if err != nil {
			out = append(out, arg)
			continue
		}
		for _, e := range entries {
			out = append(out, filepath.Join(arg, e.Name()))
		}
	}
	return out, nil
}
