//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"kaflow/internal/traffic"
)

// row is one line of the table of CPU time: kaflow on captures against a peer
// on the same ones.
type row struct {
	what   string
	most   string // what the ratio must not exceed
	peer   string // a program that may be missing
	kaflow job
	// against are the peer's runs; where they are several, their sum counts.
	against []job
	packets int
}

func keepalive(flows, packets int) traffic.Config {
	return traffic.Config{Shape: traffic.Keepalive, Flows: flows, Packets: packets}
}

// cpuTable prints CPU time per packet and ratios.
func (b *bench) cpuTable() error {
	fmt.Fprint(b.out, "| capture | packets | kaflow | against | it takes | ratio | must hold |\n|---|--:|--:|---|--:|--:|--:|\n")
	for _, prepare := range []func() ([]row, error){b.plain, b.variants, b.packed, b.twoPoints} {
		rows, err := prepare()
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := b.cpuRow(r); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(b.out)
	return nil
}

func (b *bench) cpuRow(r row) error {
	if !installed(r.peer) {
		fmt.Fprintf(b.out, "| %s | %d | | %s | not installed | | %s |\n", r.what, r.packets, r.peer, r.most)
		return nil
	}
	costs, err := b.measure(b.rounds, append([]job{r.kaflow}, r.against...)...)
	if err != nil {
		return err
	}
	peer := cost{cpu: make([]time.Duration, b.rounds)}
	for _, c := range costs[1:] {
		for i := range peer.cpu {
			peer.cpu[i] += c.cpu[i]
		}
	}
	per := func(c cost) string {
		return fmt.Sprintf("%.1f ns", float64(c.median().Nanoseconds())/float64(r.packets))
	}
	name := strings.Join(r.against[0][:len(r.against[0])-1], " ")
	if len(r.against) > 1 {
		name = "the sum of the single runs"
	} else if r.against[0][0] == b.kaflow {
		name = "kaflow on those above"
	}
	fmt.Fprintf(b.out, "| %s | %d | %s | %s | %s | %s | ≤ %s |\n", r.what, r.packets, per(costs[0]), name, per(peer), readable(ratio(costs[0], peer)), r.most)
	return nil
}

// readable writes a small ratio as what part it is.
func readable(ratio float64) string {
	if ratio < 0.3 {
		return fmt.Sprintf("1/%.1f", 1/ratio)
	}
	return fmt.Sprintf("%.2f", ratio)
}

// plain are captures against tools that read them once, those that a page cache treats
// differently also as tcpdump writes them.
func (b *bench) plain() ([]row, error) {
	var rows, pieces []row
	for _, c := range []struct {
		what, file, most string
		config           traffic.Config
		pieces           bool
	}{
		{"keepalives, 1,000 flows", "a3.pcap", "4.5", keepalive(1000, 5_000_000), true},
		{"keepalives, 100,000 flows", "a5.pcap", "9", keepalive(100_000, 5_000_000), false},
		{"keepalives, 1,000,000 flows", "a6.pcap", "14", keepalive(1_000_000, 8_000_000), false},
		{"bulk data, 1,000 flows", "b.pcap", "1.3", traffic.Config{Shape: traffic.Bulk, Flows: 1000, Packets: 2_000_000}, true},
		{"short connections, 1,000 open", "c.pcap", "5", traffic.Config{Shape: traffic.Churn, Flows: 1000, Packets: 5_000_000}, true},
	} {
		path, n, err := b.capture(c.file, c.config)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{c.what, c.most, "cat", job{b.kaflow, path}, []job{{"cat", path}}, n})
		if !c.pieces {
			continue
		}
		if path, n, err = b.write("pieces-"+c.file, c.config, func(f *os.File) io.Writer { return &piecewise{file: f} }); err != nil {
			return nil, err
		}
		pieces = append(pieces, row{c.what + ", written 4 KiB at a time", c.most, "cat", job{b.kaflow, path}, []job{{"cat", path}}, n})
	}
	a3, n := b.dir+"/a3.pcap", rows[0].packets
	few, m, err := b.capture("few.pcap", keepalive(1000, 500_000))
	if err != nil {
		return nil, err
	}
	return append(append(rows, pieces...),
		row{"keepalives, 1,000 flows", "0.8", "tcpdump", job{b.kaflow, a3}, []job{{"tcpdump", "-w", "/dev/null", "-r", a3}}, n},
		row{"keepalives, 1,000 flows", "1/6", "tcptrace", job{b.kaflow, a3}, []job{{"tcptrace", "-n", a3}}, n},
		row{"keepalives, 1,000 flows", "1/80", "tshark", job{b.kaflow, few}, []job{{"tshark", "-Y", "tcp.analysis.keep_alive", "-r", few}}, m},
	), nil
}

// variants are the same conversations in other clothes.
func (b *bench) variants() ([]row, error) {
	var rows []row
	keepalives, churn := keepalive(1000, 5_000_000), traffic.Config{Shape: traffic.Churn, Flows: 1000, Packets: 5_000_000}
	for _, c := range []struct {
		what, file string
		config     traffic.Config
		change     func(*traffic.Config)
	}{
		{"the same as pcapng", "a3.pcapng", keepalives, func(c *traffic.Config) { c.Format = traffic.PCAPNG }},
		{"the same over IPv6", "a3v6.pcap", keepalives, func(c *traffic.Config) { c.IPv6 = true }},
		{"the same of one client and one server", "a3pair.pcap", keepalives, func(c *traffic.Config) { c.Pair = true }},
		{"short connections of one client and one server", "cpair.pcap", churn, func(c *traffic.Config) { c.Pair = true }},
		{"short connections with a VLAN tag", "cvlan.pcap", churn, func(c *traffic.Config) { c.VLAN = 7 }},
	} {
		base, config := b.dir+"/a3.pcap", c.config
		if config.Shape == traffic.Churn {
			base = b.dir + "/c.pcap"
		}
		c.change(&config)
		path, n, err := b.capture(c.file, config)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{c.what, "1.3", "cat", job{b.kaflow, path}, []job{{b.kaflow, base}}, n})
	}
	return rows, nil
}

// packed are compressed captures, against unpacking alone.
func (b *bench) packed() ([]row, error) {
	path, n, err := b.capture("packed.pcap", keepalive(1000, 2_000_000))
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range []struct{ tool, ending, most string }{{"gzip", ".gz", "1.6"}, {"zstd", ".zst", "1.8"}} {
		if installed(c.tool) {
			if out, err := exec.Command(c.tool, "-kfq", path).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", c.tool, err, out)
			}
		}
		rows = append(rows, row{"the same in " + c.tool, c.most, c.tool, job{b.kaflow, path + c.ending}, []job{{c.tool, "-dc", path + c.ending}}, n})
	}
	return rows, nil
}

// twoPoints are both ends of a path, against reading each alone.
func (b *bench) twoPoints() ([]row, error) {
	config := keepalive(10_000, 2_000_000)
	client, n, err := b.capture("client.pcap", config)
	if err != nil {
		return nil, err
	}
	config.ServerSide = true
	server, _, err := b.capture("server.pcap", config)
	if err != nil {
		return nil, err
	}
	return []row{{"keepalives, 10,000 flows at two points", "1.3", "cat", job{b.kaflow, client, server},
		[]job{{b.kaflow, client}, {b.kaflow, server}}, 2 * n}}, nil
}

// memoryTable prints peak resident set sizes and what they grow with. Its
// captures have their full size whatever the scale: it is flows that cost.
func (b *bench) memoryTable() error {
	b.scale = 1
	peak := func(name string, c traffic.Config) (int64, error) {
		path, _, err := b.capture(name, c)
		if err != nil {
			return 0, err
		}
		costs, err := b.measure(2, job{b.kaflow, path})
		if err != nil {
			return 0, err
		}
		return costs[0].rss, nil
	}
	churn := func(packets int) traffic.Config {
		return traffic.Config{Shape: traffic.Churn, Flows: 1000, Packets: packets}
	}
	v6 := keepalive(1_000_000, 8_000_000)
	v6.IPv6 = true
	few6 := keepalive(10_000, 80_000)
	few6.IPv6 = true
	var rss [9]int64
	for i, c := range []traffic.Config{
		keepalive(1000, 5_000_000), keepalive(10_000, 80_000), keepalive(1_000_000, 8_000_000), few6, v6,
		keepalive(100_000, 5_000_000), keepalive(100_000, 20_000_000), churn(750_000), churn(5_000_000),
	} {
		var err error
		if rss[i], err = peak("memory.pcap", c); err != nil {
			return err
		}
	}
	const mib = 1 << 20
	slope := func(few, many int64) float64 { return float64(many-few) / 990_000 }
	fmt.Fprint(b.out, "| peak RSS | measured | must hold |\n|---|--:|--:|\n")
	fmt.Fprintf(b.out, "| at 1,000 flows, 5 M packets | %.1f MiB | ≤ 32 MiB |\n", float64(rss[0])/mib)
	fmt.Fprintf(b.out, "| per live IPv4 flow, slope from 1e4 to 1e6 flows | %.0f octets | ≤ 400 |\n", slope(rss[1], rss[2]))
	fmt.Fprintf(b.out, "| per live IPv6 flow, the same | %.0f octets | ≤ 448 |\n", slope(rss[3], rss[4]))
	fmt.Fprintf(b.out, "| growth with packets: 1e5 flows, 5 M to 20 M | %.1f MiB | ≤ 1 MiB |\n", float64(rss[6]-rss[5])/mib)
	fmt.Fprintf(b.out, "| growth with closed connections: 75,000 to 500,000 | %.1f MiB | ≤ 4 MiB |\n", float64(rss[8]-rss[7])/mib)
	return nil
}
