package capture

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSumIsThatOfWords holds the sum by 64 bits against RFC 1071's own: words of
// 16 bits, with the carry brought around.
func TestSumIsThatOfWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.Just(byte(0xff)), rapid.Just(byte(0))), 0, 90).Draw(t, "octets")
		begin := uint64(rapid.Uint32().Draw(t, "begin"))
		want := begin>>16 + begin&0xffff
		for i := 0; i < len(b); i += 2 {
			word := uint64(b[i]) << 8
			if i+1 < len(b) {
				word |= uint64(b[i+1])
			}
			want += word
		}
		for want > 0xffff {
			want = want>>16 + want&0xffff
		}
		if got := fold(sum16(begin, b)); uint64(got) != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	})
}
