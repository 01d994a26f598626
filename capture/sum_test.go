package capture

import (
	"testing"
	"unsafe"
)

func TestPacketKeepsItsSize(t *testing.T) {
	if n := unsafe.Sizeof(Packet{}); n > 128 {
		t.Errorf("a packet takes %d octets, want at most 128", n)
	}
}
