//go:build unix

package capture

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapFile(file *os.File, from int64, n int) ([]byte, error) {
	return unix.Mmap(int(file.Fd()), from, n, unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(b []byte) { _ = unix.Munmap(b) } // fails only for what is no mapping

// within reports whether an address lies in b.
func within(b []byte, addr uintptr) bool {
	if len(b) == 0 {
		return false
	}
	first := uintptr(unsafe.Pointer(&b[0]))
	return addr >= first && addr < first+uintptr(len(b))
}
