// Command traffic writes a large capture with known content to a file or to
// standard output, and what is in it as one line of JSON to standard error.
//
//	go run ./internal/traffic/cmd/traffic -shape keepalive -flows 1000 -packets 5000000 -o a.pcap
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"kaflow/internal/traffic"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	c, file, err := parseFlags(args, stderr)
	if err != nil {
		return 2
	}
	truth, err := write(c, file, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "traffic: %v\n", err)
		return 5
	}
	line, err := json.Marshal(truth)
	if err != nil {
		fmt.Fprintf(stderr, "traffic: %v\n", err)
		return 5
	}
	fmt.Fprintf(stderr, "%s\n", line)
	return 0
}

// parseFlags reads the command line. What is wrong with it has been printed
// when it returns an error.
func parseFlags(args []string, stderr io.Writer) (c traffic.Config, file string, err error) {
	set := flag.NewFlagSet("traffic", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Func("shape", "keepalive, bulk or churn (default keepalive)", func(s string) (err error) {
		c.Shape, err = traffic.ParseShape(s)
		return err
	})
	set.Func("begin", "midstream, handshake or handshake-data (default midstream)", func(s string) (err error) {
		c.Begin, err = traffic.ParseBegin(s)
		return err
	})
	set.Func("format", "pcap, pcap-ns or pcapng (default pcap)", func(s string) (err error) {
		c.Format, err = traffic.ParseFormat(s)
		return err
	})
	set.IntVar(&c.Flows, "flows", 1000, "flows; of churn: open at once")
	set.IntVar(&c.Packets, "packets", 1_000_000, "frames")
	set.Uint64Var(&c.Seed, "seed", 0, "another seed gives other numbers")
	set.BoolVar(&c.IPv6, "ipv6", false, "IPv6 instead of IPv4")
	vlan := set.Uint("vlan", 0, "802.1Q tag; 0 is none")
	set.DurationVar(&c.Interval, "interval", 0, "of keepalive: from probe to probe of a flow (default 60s)")
	set.DurationVar(&c.RTT, "rtt", 0, "round trip as the client sees it (default 200µs)")
	set.BoolVar(&c.Pair, "pair", false, "all flows of one client and one server")
	set.BoolVar(&c.Scatter, "scatter", false, "of keepalive: later rounds in another order of flows")
	set.BoolVar(&c.ServerSide, "server-side", false, "as captured at the server")
	set.DurationVar(&c.OneWay, "one-way", 0, "delay between client and server (default RTT/2 - 10µs)")
	set.DurationVar(&c.Clock, "clock", 0, "clock error of this vantage point")
	set.BoolVar(&c.NAT, "nat", false, "as seen beyond a source NAT")
	set.BoolVar(&c.Shift, "shift", false, "as seen beyond a firewall that makes sequence numbers random")
	set.StringVar(&file, "o", "-", "file to write; - is standard output")
	if err = set.Parse(args); err != nil {
		return c, "", err
	}
	if *vlan > 4094 || set.NArg() > 0 {
		err = fmt.Errorf("unexpected arguments %v, VLAN %d", set.Args(), *vlan)
		fmt.Fprintf(stderr, "traffic: %v\n", err)
	}
	c.VLAN = uint16(*vlan)
	return c, file, err
}

// write writes the capture to the named file, or to stdout.
func write(c traffic.Config, file string, stdout io.Writer) (truth traffic.Truth, err error) {
	if file == "-" {
		return traffic.Write(stdout, c)
	}
	f, err := os.Create(file)
	if err != nil {
		return truth, err
	}
	truth, err = traffic.Write(f, c)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return truth, err
}
