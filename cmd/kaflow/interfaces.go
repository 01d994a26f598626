package main

import (
	"fmt"
	"io"

	"kaflow/capture"
)

// mostInterfaces bounds the vantage points of one capture.
const mostInterfaces = 16

// byInterface makes a vantage point of every interface of a capture that holds
// TCP: each reads the whole capture and leaves out the frames of the others.
func (a *app) byInterface(o capture.Options, points []point) ([]point, error) {
	var out []point
	for _, p := range points {
		for _, path := range p.paths {
			if !twice(path) {
				return nil, usageError{fmt.Sprintf("--by-interface: %s is a stream, and is read once only", path)}
			}
		}
		seen := interfacesOf(p.set)
		p.set.Close()
		if len(seen) > mostInterfaces {
			return nil, usageError{fmt.Sprintf("--by-interface: %s has %d interfaces, at most %d can be compared", p.name, len(seen), mostInterfaces)}
		}
		for i := range seen {
			set, err := capture.Open(o, p.name, p.paths...)
			if err != nil {
				a.unreadable(err)
				continue
			}
			name := p.name + ":" + seen[i].name
			out = append(out, point{name: name, named: p.named, paths: p.paths, set: set, only: &seen[i].number})
		}
	}
	if len(out) == 0 {
		return nil, errNothing
	}
	return out, nil
}

// source is an interface of a capture.
type source struct {
	number uint32
	name   string
}

// interfacesOf reads a capture to its end and returns the interfaces of its TCP
// packets, in the order of their first.
func interfacesOf(set *capture.Set) []source {
	var b capture.Batch
	var seen []source
	known := map[uint32]bool{}
	for set.Read(&b) != io.EOF {
		for i := range b.N {
			if p := &b.Pkts[i]; p.Proto == capture.TCP && !known[p.Iface] {
				known[p.Iface] = true
				seen = append(seen, source{number: p.Iface, name: fmt.Sprintf("interface %d", p.Iface)})
			}
		}
	}
	for _, f := range set.Files() {
		for _, told := range f.Interfaces {
			for i := range seen {
				if seen[i].number == told.Number && told.Name != "" {
					seen[i].name = string(told.Name)
				}
			}
		}
	}
	return seen
}

// others hides the frames of other interfaces than the one that a vantage point
// stands for.
func (p *point) others(b *capture.Batch) {
	if p.only == nil {
		return
	}
	for i := range b.N {
		if b.Pkts[i].Iface != *p.only {
			b.Pkts[i].Hide()
		}
	}
}
