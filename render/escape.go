package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"kaflow/tcp"
)

// maxSafe is how many characters of a text from outside are shown.
const maxSafe = 255

// Safe returns text from a capture or a file name as it may be written
// anywhere: at most 255 characters, none of which moves a cursor, reorders its
// neighbours, hides, or is invalid UTF-8. What would do so is shown as \x1b or
// \u202e; what was cut ends in "…".
func Safe(u tcp.Untrusted) string {
	s := string(u)
	if len(s) > maxSafe*utf8.UTFMax {
		s = s[:maxSafe*utf8.UTFMax] // still more than 255 characters; a rune cut in two lies beyond them
	}
	return cut(escape(s), maxSafe)
}

// Safe is Safe in the characters that the options allow.
func (o Options) Safe(u tcp.Untrusted) string {
	s := Safe(u)
	if o.ASCII {
		s = toASCII(s)
	}
	return s
}

// cut returns the first characters of s, at most n, the last being "…" where
// any were left out.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// escape shows what must not be written raw. It leaves backslashes alone, so
// that it may be applied twice.
func escape(s string) string {
	if !strings.ContainsFunc(s, hostile) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hostile(r):
			b.WriteRune(r)
		default:
			b.WriteString(visible(r))
		}
	}
	return b.String()
}

// visible is how a rune that must not be written raw is shown.
func visible(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// hostile reports whether a rune moves, reorders or hides text, or stands for
// invalid UTF-8.
func hostile(r rune) bool {
	if r >= ' ' && r < 0x7f {
		return false
	}
	return r == utf8.RuneError || !unicode.IsGraphic(r) || blank(r)
}

// blank reports whether a rune counts as graphic and yet shows nothing or
// sticks to its neighbour: fillers, joiners, variation selectors, the empty
// Braille cell, and spaces other than the common one.
func blank(r rune) bool {
	return r == 0x2800 || unicode.In(r, unicode.Zs, unicode.Me, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// asciiFor holds plain spellings of the signs that reports use.
var asciiFor = map[rune]string{
	'→': "->", '←': "<-", '▶': ">", '◀': "<", '─': "-", '┈': ".", '┄': ".", '╳': "X",
	'×': "x", '−': "-", '–': "-", '—': "-", '…': "...", '≤': "<=", '≥': ">=", '±': "+-",
	'·': ".", '’': "'", '‘': "'", '“': `"`, '”': `"`, 'µ': "u", 'μ': "u",
}

// toASCII spells escaped text in ASCII.
func toASCII(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		plain, known := asciiFor[r]
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case known:
			b.WriteString(plain)
		default:
			b.WriteString(visible(r))
		}
	}
	return b.String()
}

// inASCII writes characters beyond ASCII in a form that means the same.
type inASCII struct {
	w    io.Writer
	form func(to []byte, r rune) []byte
	rest []byte // of a character that was cut between two writes
}

// Write implements io.Writer.
func (a *inASCII) Write(b []byte) (int, error) {
	text := append(a.rest, b...)
	var out []byte
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			break
		}
		r, n := utf8.DecodeRune(text)
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		} else {
			out = a.form(out, r)
		}
		text = text[n:]
	}
	a.rest = slices.Clone(text)
	if _, err := a.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// entity appends a character as a reference of HTML.
func entity(to []byte, r rune) []byte { return fmt.Appendf(to, "&#x%x;", r) }

// jsonEscape appends a character as a string of JSON may have it.
func jsonEscape(to []byte, r rune) []byte {
	if r < 0x10000 {
		return fmt.Appendf(to, `\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Appendf(to, `\u%04x\u%04x`, high, low)
}

// JSONWriter returns what JSON is to be written to: w, or where the options ask for
// ASCII a writer that escapes other characters. Who reads it gets the same strings.
func JSONWriter(w io.Writer, o Options) io.Writer {
	if !o.ASCII {
		return w
	}
	return &inASCII{w: w, form: jsonEscape}
}
