package flows

// prefetch asks for what the short way reads of n records from r on, without
// waiting. See capture.
//
//go:noescape
func prefetch(r *record, n int)
