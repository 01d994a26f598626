package main

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// firstCollection is how large the heap may grow before the garbage collector
// first looks at it, in per cent of what the runtime begins with (4 MiB). Most
// captures are read within that, and a collection costs as much as a hundred
// thousand packets: it walks the tables that the program carries, 5 MiB of them.
const firstCollection = 1600

// reportPercent is how much garbage may lie about while a large report is made, in per cent
// of what is in use. A table that is being read leaves next to none; what connections are
// judged by is thrown away once they are, some kilobytes for each.
const reportPercent = 50

// collector is the pace of the garbage collector.
type collector struct {
	percent atomic.Int64 // behind the first collection
	began   atomic.Bool  // that was
}

// late puts the first collection off. Behind it the runtime's own pace
// holds: memory follows what is in use. A watch, which goes on for days, has a
// pace of its own from the beginning (headroom).
func (c *collector) late() {
	c.percent.Store(int64(debug.SetGCPercent(firstCollection)))
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, func(c *collector) {
		c.began.Store(true)
		debug.SetGCPercent(int(c.percent.Load()))
	}, c)
}

// often makes it collect at the pace of a report, once there is enough to collect.
func (c *collector) often() {
	if c.percent.Load() <= reportPercent {
		return // the user has it more often still, or never
	}
	c.percent.Store(reportPercent)
	if c.began.Load() {
		debug.SetGCPercent(reportPercent)
	}
}
