//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"kaflow/internal/traffic"
)

// job is a command line whose cost is measured. Its output is thrown away.
type job []string

// cost is what a job took: CPU time per round, and the most memory of any.
type cost struct {
	cpu []time.Duration
	rss int64 // octets
}

func (c cost) median() time.Duration { return median(c.cpu) }

// measure runs all jobs once for nothing, then in turn, round by round.
func (b *bench) measure(rounds int, jobs ...job) ([]cost, error) {
	costs := make([]cost, len(jobs))
	for round := range rounds + 1 {
		for i, j := range jobs {
			cpu, rss, err := j.run()
			if err != nil {
				return nil, err
			}
			costs[i].rss = max(costs[i].rss, rss)
			if round > 0 {
				costs[i].cpu = append(costs[i].cpu, cpu)
			}
		}
	}
	return costs, nil
}

// run runs the job to its end. Exit statuses are no failures: some tools have
// one for what they found.
func (j job) run() (cpu time.Duration, rss int64, err error) {
	c := exec.Command(j[0], j[1:]...)
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		return 0, 0, fmt.Errorf("%v: %w", j, err)
	}
	if usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
		rss = int64(usage.Maxrss) << 10
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), rss, nil
}

// ratio is the median, over the rounds, of what a took as a multiple of b.
func ratio(a, b cost) float64 {
	parts := make([]float64, len(a.cpu))
	for i := range a.cpu {
		parts[i] = float64(a.cpu[i]) / float64(max(b.cpu[i], time.Millisecond))
	}
	return median(parts)
}

func median[T time.Duration | float64](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// capture makes a capture of the scaled number of packets and returns its path. It is
// written in large pieces, as a file is that was copied.
func (b *bench) capture(name string, c traffic.Config) (path string, packets int, err error) {
	return b.write(name, c, func(f *os.File) io.Writer { return f })
}

// write makes a capture by the writer that through returns for its file.
func (b *bench) write(name string, c traffic.Config, through func(*os.File) io.Writer) (path string, packets int, err error) {
	path = b.dir + "/" + name
	c.Packets = max(int(float64(c.Packets)*b.scale), 1000)
	f, err := os.Create(path)
	if err != nil {
		return "", 0, err
	}
	fmt.Fprintf(b.log, "making %s: %d packets\n", name, c.Packets)
	if _, err := traffic.Write(through(f), c); err != nil {
		f.Close()
		return "", 0, err
	}
	if err := f.Sync(); err != nil { // else the system writes it out beside the first measurements
		f.Close()
		return "", 0, err
	}
	return path, c.Packets, f.Close()
}

// piecewise writes to a file 4 KiB at a time, as tcpdump does: the system may keep
// what was written so in single pages, and then each has its price for who maps it.
type piecewise struct {
	file *os.File
	at   int
}

func (p *piecewise) Write(b []byte) (int, error) {
	const piece = 4 << 10
	for done := 0; done < len(b); {
		n, err := p.file.Write(b[done:min(done+piece-p.at%piece, len(b))])
		done, p.at = done+n, p.at+n
		if err != nil {
			return done, err
		}
	}
	return len(b), nil
}

// installed reports whether a program is there.
func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}
