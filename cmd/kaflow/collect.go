package main

import (
	"runtime"
	"runtime/debug"
)

// firstCollection is how large the heap may grow before the garbage collector
// first looks at it, in per cent of what the runtime begins with (4 MiB). Most
// captures are read within that, and a collection costs as much as a hundred
// thousand packets: it walks the tables that the program carries, 5 MiB of them.
const firstCollection = 1600

// collectLate puts the first collection off. Behind it the runtime's own pace
// holds: memory follows what is in use. A watch, which goes on for days, has a
// pace of its own from the beginning (headroom).
func collectLate() {
	usual := debug.SetGCPercent(firstCollection)
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, func(percent int) { debug.SetGCPercent(percent) }, usual)
}
