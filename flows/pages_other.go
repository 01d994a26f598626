//go:build !linux

package flows

// populate is a hint that not every system takes.
func populate[T any]([]T) {}
