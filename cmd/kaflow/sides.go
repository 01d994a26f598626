package main

import (
	"context"
	"fmt"
	"slices"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// followOrPart reads a vantage point, which becomes two where it turns out to hold packets
// before and after a router.
func (a *app) followOrPart(ctx context.Context, p *point, sel selection) []pairing.Point {
	again := !slices.ContainsFunc(p.paths, func(path string) bool { return !twice(path) })
	sides, seen := flows.NewSides(), 0
	begun, stop := context.WithCancel(ctx)
	at := a.followOne(begun, p, sel, func(b *capture.Batch) bool {
		switch seen += b.Len(); {
		case seen <= flows.Learned:
			sides.Learn(b)
		case again && sides.Both():
			stop()
		}
		return seen <= flows.Learned
	})
	stopped := begun.Err() != nil && ctx.Err() == nil
	stop()
	if again && sides.Both() {
		if parted := a.part(ctx, p, sel); parted != nil {
			return parted
		}
	}
	if stopped && ctx.Err() == nil { // it was left for nothing
		if set, err := a.openAgain(ctx, p); err != nil {
			a.unreadable(err)
		} else {
			p.set.Close()
			p.set = set
			at = a.followOne(ctx, p, sel, nil)
		}
	}
	a.conclude(p.set, at.Table)
	if !again && sides.Both() {
		a.hint("%s holds packets before and after a router: in a file, kaflow would compare its two sides", p.name)
	}
	return []pairing.Point{at}
}

// openAgain opens a vantage point once more.
func (a *app) openAgain(ctx context.Context, p *point) (*capture.Set, error) {
	o, err := a.options(ctx)
	if err != nil {
		return nil, err
	}
	return capture.Open(o, p.name, p.paths...)
}

// part reads a capture that holds packets before and after a router again, as
// what either side of the router saw. It returns nil where the capture cannot
// be read again, or holds nothing of one side.
func (a *app) part(ctx context.Context, p *point, sel selection) []pairing.Point {
	sides, hosts, learned := a.learnSides(ctx, p)
	if hosts[0] == "" || hosts[1] == "" {
		return nil
	}
	set, err := a.openAgain(ctx, p)
	if err != nil {
		return nil
	}
	defer set.Close()
	stop, interrupted := func() {}, ctx.Err() != nil
	if interrupted { // what was read until then is still told
		ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
	}
	sides.Rewind()
	tables := [2]*flows.Table{a.table(true), a.table(true)}
	var first, second capture.Batch
	var begin [2]tcp.Instant
	a.read(ctx, set, tables[0], &first, func() {
		if learned -= first.N; interrupted && learned <= 0 {
			stop()
		}
		sides.Part(&first, &second)
		sel.trim(&first, &begin[0])
		sel.trim(&second, &begin[1])
		tables[1].Add(&second)
	})
	tables[1].Advance(tables[0].Now())
	parted := make([]pairing.Point, len(tables))
	for side, table := range tables {
		parted[side] = pairing.Point{Name: fmt.Sprintf("%s, side of %s", p.name, hosts[side]), Table: table, Files: a.told(set), Frame: set.Frame, Holes: set.Holes()}
	}
	a.problems(set.Files(), tables[0])
	a.limits(parted[0].Name, tables[0])
	a.limits(parted[1].Name, tables[1])
	a.hint("%s holds packets before and after a router, and is taken as two vantage points", p.name)
	return parted
}

// learnSides finds out who is on which side of the router, and by which host each side can
// be named, from so many frames as there are, or as there were until ctx ended.
func (a *app) learnSides(ctx context.Context, p *point) (sides *flows.Sides, hosts [2]string, frames int) {
	sides = flows.NewSides()
	set, err := a.openAgain(ctx, p)
	if err != nil {
		return sides, hosts, 0
	}
	defer set.Close()
	var b capture.Batch
	for err == nil && ctx.Err() == nil {
		err = set.Read(&b)
		frames += b.N
		sides.Learn(&b)
		for side := range hosts {
			if hosts[side] == "" {
				hosts[side], _ = sides.Host(&b, uint8(side))
			}
		}
	}
	return sides, hosts, frames
}
