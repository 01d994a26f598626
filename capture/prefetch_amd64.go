package capture

// prefetch asks for the cache line at b and the one behind it, without waiting.
//
//go:noescape
func prefetch(b *byte)
