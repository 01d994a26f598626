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
	if at := unsafe.Offsetof(Table{}.copies) % unsafe.Sizeof(recent{}); at != 0 {
		t.Errorf("recent packets lie %d octets beside a multiple of their size: some reach into the next cache line", at)
	}
}
