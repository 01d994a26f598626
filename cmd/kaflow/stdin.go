package main

import (
	"context"
	"io"
)

// patient is a reader that ends when its context does, although the one that
// it reads from may block for ever: standard input on a quiet line.
type patient struct {
	ctx    context.Context
	chunks chan []byte
	spare  chan []byte
	rest   []byte // not yet given away
	chunk  []byte // that rest is part of
	err    error  // of the reader behind; set before chunks is closed
}

// patientChunk is how much is read ahead at once; two of these are under way.
const patientChunk = 256 << 10

// interruptible returns in, ended early where ctx ends.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	p := &patient{ctx: ctx, chunks: make(chan []byte), spare: make(chan []byte, 2)}
	for range 2 {
		p.spare <- make([]byte, patientChunk)
	}
	go p.pump(in)
	return p
}

// pump reads ahead until in ends or nobody waits any more.
func (p *patient) pump(in io.Reader) {
	defer close(p.chunks)
	for {
		var b []byte
		select {
		case b = <-p.spare:
		case <-p.ctx.Done():
			return
		}
		n, err := in.Read(b[:patientChunk])
		p.err = err
		select {
		case p.chunks <- b[:n]:
		case <-p.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.chunk != nil {
			p.spare <- p.chunk
			p.chunk = nil
		}
		select {
		case <-p.ctx.Done():
			return 0, io.EOF
		case chunk, open := <-p.chunks:
			if !open {
				return 0, p.err
			}
			p.chunk, p.rest = chunk, chunk
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
