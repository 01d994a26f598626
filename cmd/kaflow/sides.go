package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
)

// part reads a capture that holds packets before and after a router again, as
// what either side of the router saw. It returns nil where the capture cannot
// be read again, or holds nothing of one side.
func (a *app) part(ctx context.Context, p *point, sel selection) []pairing.Point {
	for _, path := range p.paths {
		if !twice(path) {
			a.hint("%s holds packets before and after a router: in a file, kaflow would compare its two sides", p.name)
			return nil
		}
	}
	o, err := a.options(ctx)
	if err != nil {
		return nil
	}
	sides := flows.NewSides()
	var hosts [2]string
	if err := a.each(ctx, o, p, func(b *capture.Batch) {
		sides.Learn(b)
		for side := range hosts {
			if host, found := sides.Host(b, uint8(side)); found && hosts[side] == "" {
				hosts[side] = host
			}
		}
	}); err != nil || hosts[0] == "" || hosts[1] == "" {
		return nil
	}
	var parted []pairing.Point
	for side := range hosts {
		sides.Rewind()
		q := *p
		q.compared = true
		q.name = fmt.Sprintf("%s, side of %s", p.name, hosts[side])
		if q.set, err = capture.Open(o, q.name, p.paths...); err != nil {
			return nil
		}
		defer q.set.Close()
		parted = append(parted, a.followOne(ctx, &q, sel, func(b *capture.Batch) { sides.Keep(b, uint8(side)) }))
	}
	a.hint("%s holds packets before and after a router, and is taken as two vantage points", p.name)
	return parted
}

// each reads a capture once more without following flows.
func (a *app) each(ctx context.Context, o capture.Options, p *point, do func(*capture.Batch)) error {
	set, err := capture.Open(o, p.name, p.paths...)
	if err != nil {
		return err
	}
	defer set.Close()
	var b capture.Batch
	for ctx.Err() == nil {
		err := set.Read(&b)
		p.others(&b)
		do(&b)
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
	return ctx.Err()
}
