package main

import (
	"runtime"
	"runtime/debug"
)

// firstCollection is how large the heap may grow before the garbage collector
// first looks at it, in per cent of what the runtime begins with (4 MiB). Most
// captures are read within that, and a collection costs as much as twenty
// thousand packets: it walks the tables that the program carries.
const firstCollection = 200

// collectLate puts the first collection off. Behind it the runtime's own pace
// holds: memory follows what is in use.
func collectLate() {
	usual := debug.SetGCPercent(firstCollection)
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, func(percent int) { debug.SetGCPercent(percent) }, usual)
}
