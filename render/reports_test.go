package render

import (
	"fmt"
	"net/netip"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// at is a moment of the day on which the reports play, by the first vantage
// point's clock.
func at(clock string) tcp.Instant {
	t, err := time.Parse("2006-01-02 15:04:05.000", "2026-11-20 "+clock)
	if err != nil {
		panic(err)
	}
	return tcp.Instant(t.UnixNano())
}

const (
	clientSide = 0
	serverSide = 1
	clientIP   = "192.0.2.10:51234"
	serverIP   = "198.51.100.22:22"
)

// vantage is a vantage point with one complete file.
func vantage(name, role string, frames uint64, first, last string) analyzer.Vantage {
	return analyzer.Vantage{Name: name, Role: role, RoleWhy: "its own packets have an initial TTL", First: at(first), Last: at(last), Files: []capture.File{{
		Path: tcp.Untrusted("captures/" + name), Format: "pcap", LinkTypes: []string{"ethernet"}, Frames: frames, TCPFrames: frames - 4,
		First: at(first), Last: at(last), Complete: true,
	}}}
}

func frameAt(v int, frame uint64, kind flows.Kind, clock string) pairing.Ref {
	return pairing.Ref{Vantage: v, Ord: tcp.Ordinal(frame), Frame: frame, Kind: kind, At: at(clock)}
}

// cell is what vantage point pos recorded; its clock runs behind by its number
// of seconds.
func cell(pos int, frame uint64, kind flows.Kind, clock string) analyzer.Cell {
	own := at(clock).Add(time.Duration(-pos) * time.Second)
	return analyzer.Cell{
		Pos: pos, Ref: pairing.Ref{Vantage: pos, Ord: tcp.Ordinal(frame), Frame: frame, Kind: kind, At: own}, At: own, Common: at(clock),
	}
}

func event(from uint8, kind flows.Kind, cells ...analyzer.Cell) analyzer.Row {
	row := analyzer.Row{At: cells[0].Common, From: from, What: kind, Cells: cells, FateKnown: true, Fate: pairing.Crossed}
	if from == flows.Server {
		row.At = cells[len(cells)-1].Common
	}
	return row
}

func lostEvent(from uint8, kind flows.Kind, a, b int, cells ...analyzer.Cell) analyzer.Row {
	row := event(from, kind, cells...)
	row.Fate, row.LostBetween = pairing.Lost, [2]int{a, b}
	return row
}

func noted(row analyzer.Row, note string) analyzer.Row {
	row.Note = note
	return row
}

func known(d time.Duration) flows.Range { return flows.Range{Min: d, Max: d, Known: true} }

// flowSeen is a flow as one vantage point would have it.
func flowSeen(stream uint64, frames uint64, first, last string, gap time.Duration) *flows.Flow {
	f := &flows.Flow{
		Stream: stream, RolesKnown: true, Complete: true, First: at(first), Last: at(last), FirstOrd: 1, LastOrd: tcp.Ordinal(frames), Frames: frames,
		Gaps: []flows.Gap{{From: at(first), To: at(first).Add(gap)}},
	}
	f.Sides[flows.Client].Addr = netip.MustParseAddrPort(clientIP)
	f.Sides[flows.Server].Addr = netip.MustParseAddrPort(serverIP)
	f.Counts[flows.KeepaliveProbe] = 9
	return f
}

// silentDrop is the case that kaflow was made for.
func silentDrop() *analyzer.Report {
	r := &analyzer.Report{
		Tool: "kaflow 0.1.0",
		Vantages: []analyzer.Vantage{
			vantage("client.pcap", "client side", 128, "14:02:11.004", "18:42:31.464"),
			vantage("server.pcap", "server side", 127, "14:02:10.025", "18:42:31.590"),
		},
		Clocks: []pairing.Clock{{
			From: 0, To: 1, Since: at("14:02:11.004"), Until: at("16:31:07.212"), At: at("14:02:11.004"),
			Offset: -time.Second, Min: -1021 * time.Millisecond, Max: -979 * time.Millisecond, Samples: [2]int{60, 57},
		}},
		Paths: []analyzer.Path{{
			Between: [2]string{"client.pcap", "server.pcap"},
			Limit:   analyzer.IdleBracket{Direction: "client", RefreshedBy: "any", Survived: 41 * time.Second, Killed: 7202268 * time.Millisecond},
			Fits: []analyzer.Fit{
				{Device: "Azure LB", Seconds: 240, Source: "vendor documentation"}, {Device: "SonicWall", Seconds: 300, Source: "vendor documentation"},
				{Device: "AWS NLB", Seconds: 350, Source: "vendor documentation"}, {Device: "Juniper SRX", Seconds: 1800, Source: "vendor documentation"},
				{Device: "FortiGate", Seconds: 3600, Source: "vendor documentation"}, {Device: "Cisco ASA", Seconds: 3600, Source: "vendor documentation"},
				{Device: "Check Point", Seconds: 3600, Source: "vendor documentation"},
			},
		}},
		Totals: analyzer.Totals{Flows: 1, Listed: 1, ByVerdict: map[string]int{analyzer.SilentDrop: 1}},
	}
	r.Flows = []analyzer.Diagnosis{silentDropFlow()}
	return r
}

func silentDropFlow() analyzer.Diagnosis {
	last := cell(0, 118, flows.ACK, "16:31:07.212")
	firstLost := cell(0, 119, flows.KeepaliveProbe, "18:31:09.480")
	d := analyzer.Diagnosis{
		ID: 1, Client: clientIP, Server: serverIP, Application: "ssh", Banner: [2]tcp.Untrusted{"SSH-2.0-OpenSSH_9.6", "SSH-2.0-OpenSSH_9.2p1"},
		Pair: &pairing.Pair{
			Seen: []pairing.Sighting{
				{Vantage: 0, Flow: flowSeen(0, 128, "14:02:11.004", "18:42:31.464", 7202268*time.Millisecond)},
				{Vantage: 1, Flow: flowSeen(0, 127, "14:02:10.025", "18:42:31.590", 7203378*time.Millisecond)},
			},
			Path: []int{0, 1}, Method: "addresses+isn", Score: 1, Margin: 1,
			Fates: []pairing.Fate{
				{Sent: firstLost.Ref, How: pairing.Lost, Between: [2]int{0, 1}, Count: 1},
				{Sent: last.Ref, Seen: cell(1, 117, flows.ACK, "16:31:07.233").Ref, How: pairing.Crossed, Between: [2]int{0, 1}, Count: 1},
			},
		},
		Verdict: analyzer.Verdict{
			ID: analyzer.SilentDrop, Confidence: analyzer.Proven, Cause: "idle-expiry", CauseConfidence: analyzer.Likely,
			CauseWhy: "no other traffic between the hosts in either file", Between: [2]int{0, 1},
			Summary: "Both ends still hold the connection and both probe it, but nothing sent after 2h00m02s of silence crosses in either direction. " +
				"Before the silence traffic crossed both ways, and both captures were recording throughout.",
			Unknown: []string{"which of the devices between the two captures: that needs a third capture"},
			At:      at("18:31:09.480"), LastCrossed: last.Ref, FirstLost: firstLost.Ref, Silence: 7202268 * time.Millisecond,
		},
		Endings: [2]flows.Ending{flows.EndGaveUp, flows.EndOpen},
		Counts:  analyzer.Counts{KeepaliveProbe: 17, RST: 1, Lost: 18},
		Policies: []analyzer.Policy{
			{End: flows.Client, Mechanism: "tcp-keepalive", Idle: 7200 * time.Second, Interval: 75 * time.Second, Count: 9, Confidence: analyzer.Proven,
				ObservedIdle: known(7202268 * time.Millisecond), ObservedInterval: known(75776 * time.Millisecond),
				Resembles: []string{"Linux defaults"}, Detection: 7875 * time.Second, Remark: "too slow for this path"},
			{End: flows.Server, Mechanism: "tcp-keepalive", Idle: 7200 * time.Second, Interval: 75 * time.Second, Confidence: analyzer.Likely,
				ObservedIdle: known(7202378 * time.Millisecond), Resembles: []string{"Linux defaults"}, Remark: "too slow for this path"},
		},
		Idle: analyzer.IdleBracket{Direction: "client", RefreshedBy: "any", Survived: 41 * time.Second, Killed: 7202268 * time.Millisecond},
		Path: 1,
		Findings: []analyzer.Finding{{
			Rule: "keepalive-too-slow", Says: "the first probe came after 7202 s of silence", Suggests: "the path had forgotten the flow by then",
			Evidence: []pairing.Ref{firstLost.Ref},
		}},
		Remedies: []analyzer.Remedy{
			{System: "OpenSSH client", Where: "~/.ssh/config", Lines: []string{"ServerAliveInterval 20", "ServerAliveCountMax 3"}},
			{System: "Linux", Where: "/etc/sysctl.d/90-keepalive.conf", Why: "for programs that set SO_KEEPALIVE", Lines: []string{
				"net.ipv4.tcp_keepalive_time = 20", "net.ipv4.tcp_keepalive_intvl = 10", "net.ipv4.tcp_keepalive_probes = 6"}},
		},
		Advice: "silences up to 41 s are proven safe here; shortest documented default in the bracket: 240 s, so 110 is likely safe",
		Filters: []analyzer.Filter{
			{Vantage: 0, Expr: "tcp.stream eq 0 && frame.number in {118..128}"}, {Vantage: 1, Expr: "tcp.stream eq 0 && frame.number in {117..127}"}},
	}
	d.Timeline = []analyzer.Row{
		event(flows.Client, flows.SYN, cell(0, 1, flows.SYN, "14:02:11.004"), cell(1, 1, flows.SYN, "14:02:11.025")),
		event(flows.Server, flows.SYNACK, cell(0, 2, flows.SYNACK, "14:02:11.046"), cell(1, 2, flows.SYNACK, "14:02:11.025")),
		{Kind: analyzer.RowRun, At: at("14:02:11.100"), From: flows.Client, What: flows.Data, Count: 231, Until: at("16:31:07.190"),
			FateKnown: true, Fate: pairing.Crossed, Cells: []analyzer.Cell{
				withLast(cell(0, 4, flows.Data, "14:02:11.100"), 117), withLast(cell(1, 4, flows.Data, "14:02:11.121"), 116)}},
		event(flows.Client, flows.ACK, last, cell(1, 117, flows.ACK, "16:31:07.233")),
		{Kind: analyzer.RowGap, At: at("16:31:07.212"), Idle: 7202268 * time.Millisecond},
		lostEvent(flows.Client, flows.KeepaliveProbe, 0, 1, firstLost),
		lostEvent(flows.Server, flows.KeepaliveProbe, 0, 1, cell(1, 118, flows.KeepaliveProbe, "18:31:09.611")),
		lostEvent(flows.Client, flows.KeepaliveProbe, 0, 1, cell(0, 120, flows.KeepaliveProbe, "18:32:25.256")),
		{Kind: analyzer.RowFolded, At: at("18:32:25.256"), From: flows.Unclear, What: flows.KeepaliveProbe, Count: 7, Interval: known(75776 * time.Millisecond)},
		noted(lostEvent(flows.Client, flows.RST, 0, 1, cell(0, 128, flows.RST, "18:42:31.464")), "gave up"),
	}
	return d
}

func withLast(c analyzer.Cell, frame uint64) analyzer.Cell {
	c.Last = c.Ref
	c.Last.Ord, c.Last.Frame = tcp.Ordinal(frame), frame
	return c
}

// healthy is one capture of a flow whose probes are answered.
func healthy() *analyzer.Report {
	probe := cell(0, 40, flows.KeepaliveProbe, "15:10:00.000")
	answer := cell(0, 41, flows.KeepaliveACK, "15:10:00.021")
	r := &analyzer.Report{
		Tool:     "kaflow 0.1.0",
		Vantages: []analyzer.Vantage{vantage("web.pcap", "client side", 41, "15:00:00.000", "15:10:00.021")},
		Totals:   analyzer.Totals{Flows: 1, Listed: 1, ByVerdict: map[string]int{analyzer.Healthy: 1}},
	}
	r.Flows = []analyzer.Diagnosis{{
		ID: 1, Client: clientIP, Server: "198.51.100.22:443", Application: "tls", AppHint: true,
		Pair: &pairing.Pair{Seen: []pairing.Sighting{{Vantage: 0, Flow: flowSeen(0, 41, "15:00:00.000", "15:10:00.021", 60*time.Second)}}, Path: []int{0}, Method: "single"},
		Verdict: analyzer.Verdict{ID: analyzer.Healthy, Confidence: analyzer.Likely, Summary: "The client probes every 60 s, and every probe was answered.",
			Unknown: []string{"whether the path stays open for longer silences than 60 s"}, At: at("15:10:00.021")},
		Endings:    [2]flows.Ending{flows.EndOpen, flows.EndOpen},
		Counts:     analyzer.Counts{KeepaliveProbe: 10, KeepaliveACK: 10},
		AliveUntil: at("15:10:00.021"), AliveRef: answer.Ref,
		Policies: []analyzer.Policy{{End: flows.Client, Mechanism: "tcp-keepalive", IdleCandidates: []time.Duration{60 * time.Second}, ObservedIdle: known(60 * time.Second), Confidence: analyzer.Likely}},
		Idle:     analyzer.IdleBracket{Direction: "unknown", RefreshedBy: "unknown", Survived: 60 * time.Second},
		Timeline: []analyzer.Row{
			nearEvent(flows.Client, flows.SYN, cell(0, 1, flows.SYN, "15:00:00.000")),
			nearEvent(flows.Server, flows.SYNACK, cell(0, 2, flows.SYNACK, "15:00:00.020")),
			{Kind: analyzer.RowRun, At: at("15:01:00.000"), From: flows.Client, What: flows.KeepaliveProbe, Count: 9, Until: at("15:09:00.021"), Interval: known(60 * time.Second),
				Cells: []analyzer.Cell{withLast(cell(0, 22, flows.KeepaliveProbe, "15:01:00.000"), 39)}},
			nearEvent(flows.Client, flows.KeepaliveProbe, probe),
			noted(nearEvent(flows.Server, flows.KeepaliveACK, answer), "answers #40"),
		},
	}}
	return r
}

func nearEvent(from uint8, kind flows.Kind, c analyzer.Cell) analyzer.Row {
	return analyzer.Row{At: c.Common, From: from, What: kind, Cells: []analyzer.Cell{c}}
}

// undecided is one capture of a flow whose probes go unanswered.
func undecided() *analyzer.Report {
	r := healthy()
	r.Vantages[0] = vantage("client.pcap", "", 50, "15:00:00.000", "18:42:31.464")
	d := &r.Flows[0]
	d.Server, d.Application, d.AppHint = serverIP, "ssh", false
	d.Verdict = analyzer.Verdict{
		ID: analyzer.Undecided, Confidence: analyzer.Possible,
		Summary: "The client's probes have gone unanswered since 17:10:00.000. One capture cannot tell whether the path or the peer is to blame.",
		Unknown: []string{"whether the probes reached the server", "whether the server was still up"}, At: at("17:10:00.000"),
		FirstLost: frameAt(0, 42, flows.KeepaliveProbe, "17:10:00.000"), Silence: 2 * time.Hour,
	}
	d.AliveUntil, d.AliveRef = 0, pairing.Ref{}
	d.Endings = [2]flows.Ending{flows.EndGaveUp, flows.EndUnknown}
	gone42 := d.Verdict.FirstLost
	d.Hypotheses = []analyzer.Hypothesis{
		{Verdict: analyzer.SilentDrop, For: because("the silence before was the longest of this flow", gone42), Against: because("no other traffic between the hosts shows that the path was open"),
			Next: "capture at the server too, with tcpdump -i any -w server.pcap host 192.0.2.10"},
		{Verdict: analyzer.PathCut, For: because("nothing of the server was seen afterwards", gone42)},
		{Verdict: "peer-gone", For: because("nothing of the server was seen afterwards", gone42), Against: because("no ICMP error came back")},
	}
	gone := nearEvent(flows.Client, flows.KeepaliveProbe, cell(0, 42, flows.KeepaliveProbe, "17:10:00.000"))
	gone.Unanswered = true
	reset := noted(nearEvent(flows.Client, flows.RST, cell(0, 50, flows.RST, "17:20:00.000")), "gave up")
	reset.Unanswered = true
	d.Timeline = append(d.Timeline, analyzer.Row{Kind: analyzer.RowGap, At: at("15:10:00.021"), Idle: 2 * time.Hour}, gone,
		analyzer.Row{Kind: analyzer.RowFolded, At: gone.At, From: flows.Client, What: flows.KeepaliveProbe, Count: 7, Interval: known(75 * time.Second)}, reset)
	r.Totals.ByVerdict = map[string]int{analyzer.Undecided: 1}
	r.Unasked = []analyzer.Unasked{{Rule: "one-way-drop", Why: "needs a capture of the other end"}}
	r.Hints = []string{"a second capture, taken at the server, would tell what crossed"}
	return r
}

// pathCut is the same pair of captures, the other one having ended: losses are
// assumed, and nothing is known of what came later.
func pathCut() *analyzer.Report {
	r := silentDrop()
	d := &r.Flows[0]
	d.Verdict.ID, d.Verdict.Confidence, d.Verdict.Cause, d.Verdict.CauseConfidence = analyzer.PathCut, analyzer.Likely, "unknown", analyzer.None
	d.Verdict.CauseWhy = "an outage that began during the silence looks the same"
	d.Verdict.Summary = "Everything between the two hosts stopped at one moment: a fresh SYN was lost as well."
	d.Timeline = []analyzer.Row{
		d.Timeline[3], d.Timeline[4], d.Timeline[5],
		noted(lostEvent(flows.Client, flows.SYN, 0, 1, cell(0, 121, flows.SYN, "18:32:00.000")), "another flow, the control"),
		d.Timeline[6],
	}
	for i := 2; i < 5; i++ {
		d.Timeline[i].Assumed = true
	}
	unknowable := event(flows.Client, flows.KeepaliveProbe, cell(0, 122, flows.KeepaliveProbe, "18:33:40.000"))
	unknowable.FateKnown = false
	foundling := event(flows.Server, flows.RST, cell(0, 123, flows.RST, "18:33:40.001"))
	d.Timeline = append(d.Timeline, unknowable, foundling)
	d.Policies = nil
	r.Totals.ByVerdict = map[string]int{analyzer.PathCut: 1}
	r.Limits = []string{"max-events: 12 folded events left the story of flow 1"}
	r.Vantages[1].Files[0].Complete = false
	r.Vantages[1].Files[0].Problems = []capture.Problem{{Frame: 127, Offset: 0x1b3c4, What: "TCP needs 20 octets, 6 left", Fatal: true}}
	r.Vantages[0].Files[0].Drops, r.Vantages[0].Files[0].DropsKnown = 12, true
	return r
}

// threePoints is the drop seen at the client, at the firewall and at the
// server, over midnight.
func threePoints() *analyzer.Report {
	r := silentDrop()
	r.Vantages = []analyzer.Vantage{
		vantage("client.pcap", "client side", 128, "14:02:11.004", "18:42:31.464"),
		vantage("firewall-inside.pcap", "", 240, "14:02:10.025", "18:42:31.590"),
		vantage("server.pcap", "server side", 127, "14:02:10.025", "18:42:31.590"),
	}
	second := r.Vantages[1].Files[0]
	second.Path = "captures/firewall-inside.pcap1"
	r.Vantages[1].Files = append(r.Vantages[1].Files, second)
	r.Clocks = append(r.Clocks, pairing.Clock{From: 0, To: 2}, pairing.Clock{From: 1, To: 2, Offset: 3 * time.Hour, Min: 2 * time.Hour, NoMax: true})
	d := &r.Flows[0]
	d.Pair.Path = []int{0, 1, 2}
	d.Verdict.Between = [2]int{1, 2}
	d.Timeline = []analyzer.Row{
		event(flows.Client, flows.ACK, cell(0, 118, flows.ACK, "16:31:07.212"), cell(1, 240, flows.ACK, "16:31:07.220"), cell(2, 117, flows.ACK, "16:31:07.233")),
		event(flows.Server, flows.Data, cell(0, 119, flows.Data, "16:31:07.300"), cell(2, 118, flows.Data, "16:31:07.280")),
		{Kind: analyzer.RowGap, At: at("16:31:07.300"), Idle: 27 * time.Hour},
		lostEvent(flows.Client, flows.KeepaliveProbe, 1, 2, tomorrow(cell(0, 120, flows.KeepaliveProbe, "19:31:07.300")), tomorrow(cell(1, 241, flows.KeepaliveProbe, "19:31:07.308"))),
		lostEvent(flows.Server, flows.KeepaliveProbe, 1, 2, tomorrow(cell(2, 119, flows.KeepaliveProbe, "19:31:09.611"))),
		lostEvent(flows.Client, flows.KeepaliveProbe, 1, 2, tomorrow(cell(0, 121, flows.KeepaliveProbe, "19:32:23.076"))),
	}
	return r
}

func tomorrow(c analyzer.Cell) analyzer.Cell {
	c.At, c.Common = c.At.Add(24*time.Hour), c.Common.Add(24*time.Hour)
	return c
}

// manyFlows is a dead flow among thirty others.
func manyFlows() *analyzer.Report {
	r := silentDrop()
	r.Totals = analyzer.Totals{Flows: 134, Closed: 103, Listed: 31, ByVerdict: map[string]int{
		analyzer.SilentDrop: 1, analyzer.Undecided: 1, analyzer.Healthy: 29, analyzer.ClosedNormally: 103}}
	second := undecided().Flows[0]
	second.ID = 2
	r.Flows = append(r.Flows, second)
	for i := range 29 {
		d := healthy().Flows[0]
		d.ID = i + 3
		d.Client = fmt.Sprintf("192.0.2.%d:%d", i+11, 40000+i)
		d.Related = []analyzer.Related{{Flow: 1, As: "a control for it"}}
		r.Flows = append(r.Flows, d)
	}
	return r
}

// hostile is text that would take over a terminal.
const hostile1 = "\x1b]0;owned\x07\u202egnp.exe\u200b\xff\xfe\u009b31m\r\n\t\x7f"

// hostileNames has such text wherever text can stand.
func hostileNames() *analyzer.Report {
	r := silentDrop()
	r.Tool, r.Command = "kaflow "+hostile1, hostile1
	long := tcp.Untrusted(hostile1)
	for len(long) < 2000 {
		long += long
	}
	for i := range r.Vantages {
		r.Vantages[i].Name = fmt.Sprintf("%d%s", i, hostile1)
		r.Vantages[i].Role, r.Vantages[i].RoleWhy = hostile1, hostile1
		r.Vantages[i].Files[0].Path = long
		r.Vantages[i].Files[0].Format = hostile1
		r.Vantages[i].Files[0].LinkTypes = []string{hostile1}
		r.Vantages[i].Files[0].Undecoded = map[string]uint64{hostile1: 1}
		r.Vantages[i].Files[0].Problems = []capture.Problem{{What: hostile1}}
	}
	r.Limits, r.Hints, r.Unasked = []string{hostile1}, []string{hostile1}, []analyzer.Unasked{{Rule: hostile1, Why: hostile1}}
	r.Clocks[0].Note = hostile1
	r.Totals.ByVerdict = map[string]int{hostile1: 1}
	r.Paths[0].Note, r.Paths[0].Between, r.Paths[0].Limit.Direction = hostile1, [2]string{hostile1, hostile1}, hostile1
	r.Paths[0].Fits[0] = analyzer.Fit{Device: hostile1, Source: hostile1}
	d := &r.Flows[0]
	d.Client, d.Server, d.Application, d.Advice = hostile1, hostile1, "=cmd"+hostile1, hostile1
	d.Banner = [2]tcp.Untrusted{long, long}
	d.Verdict.ID, d.Verdict.Cause, d.Verdict.CauseWhy, d.Verdict.Summary = hostile1, hostile1, hostile1, hostile1
	d.Verdict.Confidence, d.Verdict.CauseConfidence, d.Verdict.Unknown = hostile1, hostile1, []string{hostile1}
	d.Pair.Method = hostile1
	d.Policies[0].Mechanism, d.Policies[0].Remark, d.Policies[0].Resembles, d.Policies[0].Confidence = hostile1, hostile1, []string{hostile1}, hostile1
	d.Findings[0] = analyzer.Finding{Rule: hostile1, Says: hostile1, Suggests: hostile1, Evidence: d.Findings[0].Evidence}
	d.Hypotheses = []analyzer.Hypothesis{{Verdict: hostile1, For: because(hostile1), Against: because(hostile1), Next: hostile1}}
	d.Remedies = []analyzer.Remedy{{System: hostile1, Where: hostile1, Lines: []string{hostile1}, Why: hostile1}}
	d.Filters = []analyzer.Filter{{Expr: hostile1, What: hostile1}}
	d.Related = []analyzer.Related{{Flow: 2, As: hostile1}}
	for i := range d.Timeline {
		d.Timeline[i].Note = hostile1
	}
	second := healthy().Flows[0]
	second.Client, second.Pair = hostile1, nil
	r.Flows = append(r.Flows, second, second, second)
	return r
}

// reports are the reports that the tests write, by situation.
func reports() map[string]*analyzer.Report {
	return map[string]*analyzer.Report{
		"silent-drop": silentDrop(), "healthy-one-capture": healthy(), "undecided-one-capture": undecided(), "path-cut": pathCut(),
		"three-points": threePoints(), "many-flows": manyFlows(), "hostile-names": hostileNames(), "nothing": {Tool: "kaflow 0.1.0"},
	}
}

// because is one reason.
func because(says string, evidence ...pairing.Ref) []analyzer.Reason {
	return []analyzer.Reason{{Says: says, Evidence: evidence}}
}
