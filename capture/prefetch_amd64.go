package capture

// prefetch asks for n octets from b on, without waiting: for at least one cache
// line. None of them need be there.
//
//go:noescape
func prefetch(b *byte, n int)
