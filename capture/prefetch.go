package capture

import "unsafe"

// Prefetch asks for the memory of s, so that it is near when it is read, without
// waiting for it: for many cache lines at a time, well before. It is a hint, and
// nothing on some processors.
func Prefetch[T any](s []T) {
	if len(s) > 0 {
		prefetch((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
	}
}
