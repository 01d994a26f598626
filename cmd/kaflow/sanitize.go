package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/internal/rewrite"
	"kaflow/tcp"
)

// How --sanitize replaces addresses.
const (
	sanitizeAddresses = "addresses" // by those for documentation
	sanitizeRoles     = "roles"     // in texts by client, server and so on
	sanitizeKeyed     = "keyed"     // by Crypto-PAn
)

// sanitiser returns what rewrites frames as --sanitize asks; nil where it does
// not. All captures of a run share it.
func (a *app) sanitiser() (*rewrite.Sanitiser, error) {
	if a.flags.sanitize == "" {
		if a.flags.addressMap != "" || a.flags.sanitizeKey != "" {
			return nil, usageError{"--map and --sanitize-key belong to --sanitize"}
		}
		return nil, nil
	}
	if a.clean != nil {
		return a.clean, nil
	}
	addresses, err := a.addresses()
	if err != nil {
		return nil, err
	}
	a.clean = &rewrite.Sanitiser{Map: addresses, Words: flows.PublicWords}
	return a.clean, nil
}

// addresses returns the map of --sanitize, with what --map holds already.
func (a *app) addresses() (*rewrite.Addresses, error) {
	m := rewrite.NewAddresses()
	switch a.flags.sanitize {
	case sanitizeAddresses, sanitizeRoles:
		if a.flags.sanitizeKey != "" {
			return nil, usageError{"--sanitize-key belongs to --sanitize=keyed"}
		}
	case sanitizeKeyed:
		key, err := a.sanitizeKey()
		if err != nil {
			return nil, err
		}
		if m, err = rewrite.NewKeyedAddresses(key); err != nil {
			return nil, usageError{fmt.Sprintf("--sanitize-key %s: %v", a.flags.sanitizeKey, err)}
		}
	default:
		return nil, usageError{fmt.Sprintf("--sanitize=%s: want %s, %s or %s", a.flags.sanitize, sanitizeAddresses, sanitizeRoles, sanitizeKeyed)}
	}
	if a.flags.addressMap == "" {
		return m, nil
	}
	old, err := os.ReadFile(a.flags.addressMap)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = m.Load(bytes.NewReader(old))
	}
	if err != nil {
		return nil, usageError{fmt.Sprintf("--map %s: %v", a.flags.addressMap, cause(err))}
	}
	return m, nil
}

// sanitizeKey reads the key of --sanitize=keyed, as octets or in hexadecimal;
// without one it is drawn for this run alone.
func (a *app) sanitizeKey() ([]byte, error) {
	if a.flags.sanitizeKey == "" {
		key := make([]byte, rewrite.KeySize)
		rand.Read(key)
		return key, nil
	}
	key, err := os.ReadFile(a.flags.sanitizeKey)
	if err != nil {
		return nil, usageError{fmt.Sprintf("--sanitize-key %s: %v", a.flags.sanitizeKey, cause(err))}
	}
	if text, err := hex.DecodeString(strings.TrimSpace(string(key))); err == nil && len(text) == rewrite.KeySize {
		return text, nil
	}
	return key, nil
}

// keepMap writes the map to where --map says, for its owner's eyes alone. A
// file that is there was read before and is continued.
func (a *app) keepMap() error {
	path := a.flags.addressMap
	if path == "" || a.clean == nil {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".kaflow-*") // mode 0600
	if err != nil {
		return outputError{fmt.Errorf("write %s: %w", path, cause(err))}
	}
	err = errors.Join(a.clean.Map.Save(temp), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return outputError{fmt.Errorf("write %s: %w", path, cause(err))}
	}
	return nil
}

// alias returns the name by which a sanitised run calls vantage point i: its
// own where that is a role's, else a number.
func alias(name string, i int) string {
	switch stem, _, _ := strings.Cut(filepath.Base(name), "."); strings.ToLower(stem) {
	case "client", "server":
		return strings.ToLower(stem)
	}
	return fmt.Sprintf("capture %d", i+1)
}

// aliases replaces the names of vantage points where the run is sanitised.
func (a *app) aliases(points []capture.Vantage) {
	if a.clean == nil {
		return
	}
	used := map[string]bool{}
	for i := range points {
		name := alias(points[i].Name, i)
		if used[name] {
			name = fmt.Sprintf("capture %d", i+1)
		}
		used[name] = true
		points[i].Name = name
	}
}

// told returns what is known of the files of a vantage point, their paths
// replaced where the run is sanitised.
func (a *app) told(set *capture.Set) []capture.File {
	return a.renamed(set.Name(), set.Files())
}

func (a *app) renamed(point string, files []capture.File) []capture.File {
	if a.clean == nil {
		return files
	}
	files = slices.Clone(files)
	for i := range files {
		files[i].Path = tcp.Untrusted(point)
		if len(files) > 1 {
			files[i].Path = tcp.Untrusted(fmt.Sprintf("%s, file %d", point, i+1))
		}
	}
	return files
}

// sign completes a report by how it came to be, and gives hosts the names of
// their roles where --sanitize=roles asks for them.
func (a *app) sign(c *cobra.Command, points []point, r *analyzer.Report) {
	r.Command = a.commandLine(c, points)
	if a.clean != nil {
		r.Hints = append(r.Hints, sanitizedHint)
	}
	if a.flags.sanitize != sanitizeRoles {
		return
	}
	r.Rename(analyzer.Roles(r))
}

// sanitizedHint tells the reader of a report what was done to it.
const sanitizedHint = "sanitised: addresses are replaced, payload, names and comments left out; ports, times, sequence numbers, IP IDs and TTLs are the captured ones"

// harmlessFlags have values that name nobody.
var harmlessFlags = []string{"port", "flow", "from", "until", "format", "color", "width", "fail-on", "max-flows", "max-chars", "max-events", "max-listed", "max-input", "clock-offset", "what-if", "sanitize", "expect", "path-limit", "snaplen"}

// commandLine returns the command line for the report: the command, the flags
// that were set and the captures, without the folders that they lie in. Of a
// sanitised run it holds no value that could name a host, a file or a key.
func (a *app) commandLine(c *cobra.Command, points []point) string {
	words := []string{"kaflow"}
	if c.HasParent() && c.Name() != "analyze" {
		words = append(words, c.Name())
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		switch value := f.Value.String(); {
		case slices.Contains([]string{"read", "output", "write", "force", "quiet"}, f.Name):
		case f.Value.Type() == "bool" && value == "true":
			words = append(words, "--"+f.Name)
		case a.clean != nil && !slices.Contains(harmlessFlags, f.Name), f.Name == "map", f.Name == "sanitize-key":
			words = append(words, "--"+f.Name+"=...")
		default:
			words = append(words, "--"+f.Name+"="+value)
		}
	})
	for _, p := range points {
		switch {
		case a.clean != nil:
			words = append(words, strings.ReplaceAll(p.name, " ", "-"))
		case p.named && p.only == nil:
			words = append(words, p.name+"="+filepath.Base(p.paths[0]))
		default:
			words = append(words, filepath.Base(p.paths[0]))
		}
	}
	return strings.Join(words, " ")
}
