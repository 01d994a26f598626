//go:build !amd64

package capture

// prefetch is a hint that not every processor takes.
func prefetch(*byte, int) {}
