//go:build !amd64

package flows

// prefetch is a hint that not every processor takes.
func prefetch(*record, int) {}
