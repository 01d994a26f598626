package flows

import (
	"testing"
	"unsafe"
)

func TestRecordsKeepTheirSize(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, most uintptr
	}{
		{"hot", unsafe.Sizeof(hot{}), 64},
		{"cold", unsafe.Sizeof(cold{}), 192},
		{"event", unsafe.Sizeof(event{}), 48},
		{"closed", unsafe.Sizeof(Closed{}), 112},
	} {
		if c.got > c.most {
			t.Errorf("%s takes %d octets, want at most %d", c.name, c.got, c.most)
		}
	}
}
