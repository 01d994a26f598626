package main

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escape makes text from a file name or a capture safe for a terminal, one
// line and one column: control and format characters, and octets that are no
// UTF-8, come out as \x1b or \u202e.
func escape(s string) string {
	if plain(s) {
		return s
	}
	var b []byte
	for i, r := range s {
		switch {
		case broken(s, i, r), r < 0x80 && !unicode.IsPrint(r):
			b = appendHex(append(b, `\x`...), uint32(s[i]), 2)
		case !unicode.IsPrint(r) && r > 0xffff:
			b = appendHex(append(b, `\U`...), uint32(r), 8)
		case !unicode.IsPrint(r):
			b = appendHex(append(b, `\u`...), uint32(r), 4)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// appendJSON appends s as a JSON string in which nothing can drive a terminal.
// Octets that are no UTF-8 become U+FFFD, for JSON cannot hold them.
func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = appendHex(append(b, `\u`...), uint32(high), 4)
			b = appendHex(append(b, `\u`...), uint32(low), 4)
		default:
			b = appendHex(append(b, `\u`...), uint32(r), 4)
		}
	}
	return append(b, '"')
}

// appendHex appends n in so many hexadecimal digits.
func appendHex(b []byte, n uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

// plain reports whether s has nothing to escape.
func plain(s string) bool {
	for i, r := range s {
		if !unicode.IsPrint(r) || broken(s, i, r) {
			return false
		}
	}
	return true
}

// broken reports whether the rune r at s[i] stands for an octet that is no UTF-8.
func broken(s string, i int, r rune) bool {
	return r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd")
}
