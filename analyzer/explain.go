package analyzer

import "slices"

// Page explains an id that reports use. README's table and kaflow explain are
// both made from the pages.
type Page struct {
	ID      string
	Kind    string   // "verdict", "cause" or "finding"
	Short   string   // what happened, in a line
	Means   string   // what that means, and why it matters
	Both    string   // of verdicts: what proves it with captures of both ends; "" where they add nothing
	One     string   // of verdicts: what shows it in one capture; "" where nothing does
	Refutes []string // what would speak against it
	Alike   []string // what else looks like it
	Do      []string // what to do
}

// Kinds of pages.
const (
	OfVerdict = "verdict"
	OfCause   = "cause"
	OfFinding = "finding"
)

// Pages returns all pages: the verdicts, the causes, the findings.
func Pages() []Page { return slices.Concat(verdictPages, causePages, findingPages) }

// PageOf returns the page of an id.
func PageOf(id string) (Page, bool) {
	for _, list := range [][]Page{verdictPages, causePages, findingPages} {
		if i := slices.IndexFunc(list, func(p Page) bool { return p.ID == id }); i >= 0 {
			return list[i], true
		}
	}
	return Page{}, false
}

var verdictPages = []Page{
	{
		ID: "silent-drop", Kind: OfVerdict,
		Short:   "after a silence nothing of it crosses any more, and nobody says why",
		Means:   "Something between the ends forgot the connection, usually a firewall, NAT or load balancer whose idle timer ran out, and drops its packets without a word. Both ends still believe in it: a program hangs, a terminal freezes.",
		Both:    "everything sent after the gap, by whichever end, is missing in the other capture while that was recording; before it the connection crossed",
		One:     "unanswered right after an idle gap, and a control: another connection or a fresh SYN to the same host passes; possible and no more, for a filter on the peer's own host looks the same; without a control only a hypothesis",
		Refutes: []string{"anything of this connection that crosses later", "other traffic between the hosts dies at the same moment (path-cut)", "the packets arrive and the host does not answer (host-drop)"},
		Alike:   []string{"path-cut, where no control crosses", "one-way-drop, where one direction was not tried", "peer-gone and host-drop, from the prober's capture alone"},
		Do:      []string{"set keepalives below the path's idle limit: the report names the value and the lines", "or raise the idle timeout of the device between", "ask its owner: the report has the times and the strings to search for"},
	},
	{
		ID: "one-way-drop", Kind: OfVerdict,
		Short:   "only one direction dies",
		Means:   "Packets of one end still arrive, those of the other do not: a device on one direction of an asymmetric path forgot the connection, or drops what it sees from one side only.",
		Both:    "after the gap one direction provably crosses while the other is lost",
		One:     "captured at the answering side: probes come at the pace of unanswered ones and the prober echoes an old timestamp, though every one was answered; possible and no more, for the prober's own filter looks the same",
		Refutes: []string{"a segment of the dead direction that arrives", "the echoed timestamp (TSecr) moves on"},
		Alike:   []string{"host-drop at the prober: its own firewall takes the answers", "silent-drop, where the live direction was not tried after the gap"},
		Do:      []string{"look for asymmetric routing and stateful devices on one of the two ways", "capture at the prober's host as well: do the answers reach its interface?"},
	},
	{
		ID: "forged-reset", Kind: OfVerdict,
		Short:   "something between the ends sent the RST (or FIN)",
		Means:   "The packet that ended the connection bears an end's address and was not sent by it: a firewall, load balancer or intrusion prevention system spoke in its name, often at the expiry of an idle timer.",
		Both:    "the RST is seen at one end and the other never sent it, while its capture was recording",
		One:     "it came sooner than the minimum round trip allows, or from another hop distance than the peer's packets, or with fields that fit neither the peer nor a host without a socket",
		Refutes: []string{"the same RST in the capture of the end that it names", "the TTL and IP ID of the peer's other packets"},
		Alike:   []string{"peer-lost-state: a host without the socket answers with a RST of its own", "a peer that gave up earlier and answers a late packet"},
		Do:      []string{"find the device at the hop distance of the RST", "where it comes at a fixed idle age, treat it as an idle timeout: keepalives below it"},
	},
	{
		ID: "proxy-answer", Kind: OfVerdict,
		Short:   "something between answers probes for the peer",
		Means:   "Keepalives are answered by a proxy, load balancer or firewall, not by the peer: they prove that the device lives and say nothing of what is behind it.",
		Both:    "answers reach one end though the probe never reached the other",
		One:     "answers sooner than the minimum round trip; a TTL, IP ID or timestamp clock that does not fit the peer",
		Refutes: []string{"the probe and its answer in the capture of the peer"},
		Alike:   []string{"a TCP proxy that ends the connection openly: then the far end is another connection"},
		Do:      []string{"use a heartbeat of the application: it has to come from the peer itself", "probe from both sides of the device"},
	},
	{
		ID: "nat-rebind", Kind: OfVerdict,
		Short:   "the translation changed in mid-connection",
		Means:   "A NAT forgot the connection and gave its next packet another port or address. The peer sees a stranger and ignores or resets it.",
		Both:    "the same sequence numbers, timestamps or octets under a new address or port beyond the NAT",
		One:     "beyond the NAT: the same numbers continue under a new port. Before it: only a hypothesis of peer-lost-state",
		Refutes: []string{"the same address and port on both sides of the gap in a capture beyond the NAT that was not filtered by port"},
		Alike:   []string{"peer-lost-state, seen from before the NAT", "another backend behind a load balancer"},
		Do:      []string{"keepalives below the NAT's timeout", "capture without a port in the filter, else the rebound connection is not in the file"},
	},
	{
		ID: "path-rejected", Kind: OfVerdict,
		Short:   "a router or firewall said so by ICMP",
		Means:   "An ICMP error quotes the connection: administratively prohibited, no route, port or protocol unreachable. TCP treats these as soft errors; they explain a death and do not cause it.",
		Both:    "the ICMP error that quotes the connection, with sequence numbers in its range",
		One:     "the same",
		Refutes: []string{"the connection goes on afterwards", "the quoted sequence numbers are of another time"},
		Alike:   []string{"peer-gone: host or address unreachable", "host-drop: the error comes from the peer's own address"},
		Do:      []string{"the outer source address of the error names who rejects: ask there"},
	},
	{
		ID: "path-cut", Kind: OfVerdict,
		Short:   "everything between the hosts stopped at one moment, idle or not",
		Means:   "A link, route, tunnel or device failed: not this connection but all of them. No keepalive prevents it; it only notices sooner.",
		Both:    "a control between the hosts (another connection, a ping, a fresh SYN) dies at the same moment",
		One:     "the same, weaker: one capture cannot tell which side failed",
		Refutes: []string{"a control that crosses while this connection is lost (silent-drop)"},
		Alike:   []string{"silent-drop without a control beside it", "peer-gone"},
		Do:      []string{"look for routing changes, link failures and maintenance at that minute", "run a slow ping beside the next capture: it is the control"},
	},
	{
		ID: "peer-lost-state", Kind: OfVerdict,
		Short:   "the peer rebooted or lost the socket: it answers a probe with a RST of its own",
		Means:   "The peer's host lives and knows no such connection. Its program was restarted, the host rebooted, or it gave up earlier without this end hearing of it.",
		Both:    "the probe arrives unchanged, the RST leaves the peer, and the peer had not given up before",
		One:     "a RST of the shape that a host without the socket sends: likely in a capture taken beside that host, else possible, and possible after a minute of silence, for a peer that gave up earlier answers alike",
		Refutes: []string{"the peer sends more on the connection (then its host firewall rejects)", "the RST is missing in the peer's capture (forged-reset)"},
		Alike:   []string{"nat-rebind: the probe arrives under another port", "another backend behind a load balancer", "a peer that gave up during an outage and answers the late packet"},
		Do:      []string{"look for a restart of the program or host before that moment", "shorter keepalives notice it sooner; they do not prevent it"},
	},
	{
		ID: "peer-gone", Kind: OfVerdict,
		Short:   "the peer's host is down, suspended or cut off at its last hop",
		Means:   "Nothing of the host answers any more, on any connection.",
		Both:    "nothing of the host in a capture beside it while others there live; or its own capture ends and ICMP or ARP speaks",
		One:     "ICMP host or address unreachable; requests for its hardware address that it does not answer, in a capture at its last hop: likely; or all its connections and fresh SYNs unanswered while its neighbours answer",
		Refutes: []string{"any packet of the host after that moment"},
		Alike:   []string{"path-cut", "silent-drop, where this was the only connection"},
		Do:      []string{"is the host up? on a laptop or phone: did it sleep?"},
	},
	{
		ID: "host-drop", Kind: OfVerdict,
		Short:   "the packet reached the host's interface and the host does not answer",
		Means:   "A firewall on the host forgot the connection, or a VRF or filter takes the packet: tcpdump sees it before the host's own filter does.",
		Both:    "packets arrive in the capture taken on that host, which goes on sending other traffic, and no answer leaves; or the answers reach the prober and its TCP never takes them",
		One:     "on the prober: answers are in the file, yet it goes on probing at the interval, echoes an old timestamp and gives up: likely. On the host that should answer: questions come in, a control lives, nothing leaves: likely",
		Refutes: []string{"an answer that leaves", "the capture was taken on a mirror port and not on the host"},
		Alike:   []string{"one-way-drop, seen from the other end", "app-hung: there the kernel still acknowledges"},
		Do:      []string{"look at the host's own firewall and its connection tracking: conntrack -L, nft list ruleset, the Windows firewall's log"},
	},
	{
		ID: "mtu-black-hole", Kind: OfVerdict,
		Short:   "small segments pass, full-sized ones vanish",
		Means:   "A link on the way takes smaller packets than the ends believe, and the ICMP message that says so is lost or filtered.",
		Both:    "sizes that cross against sizes that do not",
		One:     "only full-sized segments are repeated, shorter ones acknowledged",
		Refutes: []string{"a full-sized segment that arrives", "short ones lost as well"},
		Alike:   []string{"packet-loss that happened to hit large segments"},
		Do:      []string{"lower the MTU or clamp the MSS on the tunnel", "let ICMP fragmentation needed and packet too big through"},
	},
	{
		ID: "app-hung", Kind: OfVerdict,
		Short:   "the peer's kernel answers, its application does not",
		Means:   "Requests are acknowledged and nobody replies. Keepalives cannot find this: a kernel answers them for a program that hangs.",
		Both:    "acknowledgments cross, application answers never leave",
		One:     "the same",
		Refutes: []string{"a late answer of the application"},
		Alike:   []string{"a long-running request", "proxy-answer: the acknowledgment is the proxy's"},
		Do:      []string{"look at the program, not at the network", "a heartbeat of the application notices it"},
	},
	{
		ID: "heartbeat-timeout", Kind: OfVerdict,
		Short:   "an application closed the connection when its own heartbeats went unanswered",
		Means:   "ssh with ServerAlive, a broker, a database driver: it counted missing answers and gave up. A verdict only where no cause for the silence is found, else an ending.",
		Both:    "heartbeats that were answered before are not any more, the application closes where the next one would be due, and the peer's application answers when it is too late; likely where only the RST to the late answer tells that it left",
		One:     "the same, likely; without a late answer possible, since one capture cannot tell why there was none",
		Refutes: []string{"a cause for the silence: then that is the verdict", "the end comes at a time that fits no heartbeat: somebody closed it by hand"},
		Alike:   []string{"closed", "app-hung: the peer's host acknowledges two heartbeats and more, and nobody ever answers", "silent-drop, from one capture"},
		Do:      []string{"find out why the answers stopped", "OpenSSH gives up after (CountMax + 1) × Interval, not CountMax × Interval", "raise the count where an outage or a pause of that length is normal"},
	},
	{
		ID: "receiver-stalled", Kind: OfVerdict,
		Short:   "zero window for long: an end does not read",
		Means:   "What looks like keepalives are window probes: the sender has data, the receiver's window is shut because its program does not take what is there.",
		Both:    "window 0 leaves the receiver and is answered by probes at growing distances",
		One:     "the same",
		Refutes: []string{"the window opens"},
		Alike:   []string{"a healthy connection with keepalives: there is nothing to send", "app-hung"},
		Do:      []string{"look at the program that does not read, at its disk and its locks"},
	},
	{
		ID: "half-open", Kind: OfVerdict,
		Short:   "one end holds a session that the other has forgotten, and a new session suffers from it",
		Means:   "A server that allows one session, a device server's port, a reused port: the old connection stands in the way until somebody notices that its peer is gone.",
		Both:    "the new session is refused, ignored, challenged, or accepted and closed at once, while the old connection lives at one end",
		One:     "the same",
		Refutes: []string{"the new session works"},
		Alike:   []string{"not-established for another reason: wrong port, a full backlog"},
		Do:      []string{"keepalives at the end that holds the old session, on routers at both (service tcp-keepalives-in and -out)", "clear the line by hand for now"},
	},
	{
		ID: "idle-close", Kind: OfVerdict,
		Short:   "an end or a proxy closed an idle connection on purpose",
		Means:   "A server timeout, a shell's TMOUT, a router's exec-timeout, a load balancer: nobody lost anything. Such timers count data, so TCP keepalives do not reset them.",
		Both:    "the FIN or RST leaves that end; several connections at equal idle age, or one at a documented default",
		One:     "the same",
		Refutes: []string{"it was in use shortly before", "the RST was not sent by that end (forged-reset)"},
		Alike:   []string{"closed: the user logged out", "forged-reset at the expiry of a device's timer"},
		Do:      []string{"change the setting that closes it: kaflow facts closers", "or use a heartbeat that the timer counts as activity"},
	},
	{
		ID: "not-established", Kind: OfVerdict,
		Short:   "the handshake never completed",
		Means:   "Refused by a RST, unanswered, or rejected by ICMP. No idle timer can be blamed.",
		Both:    "which side of the gap the SYN died on",
		One:     "SYN without SYN-ACK, with the RST or ICMP error that explains it",
		Refutes: []string{"a completed handshake that the capture missed"},
		Alike:   []string{"half-open, where an older session of the same hosts lives"},
		Do:      []string{"refused: is the service running? unanswered: firewall rules and routes on the way there and back"},
	},
	{
		ID: "undecided", Kind: OfVerdict,
		Short:   "more than one cause fits",
		Means:   "Each is listed with what speaks for and against it, and with the next capture that would tell.",
		Refutes: []string{"the measurement that the report names"},
		Do:      []string{"take the capture that the report names, started before the login and left running past the death"},
	},
	{
		ID: "capture-gap", Kind: OfVerdict,
		Short:   "the captures cannot answer",
		Means:   "One direction, the beginning, or the time in question is missing. The report says which.",
		Refutes: []string{"a capture that holds what is missing"},
		Do:      []string{"capture again as the report says; on the hosts themselves rather than on a mirror port"},
	},
	{
		ID: "idle", Kind: OfVerdict,
		Short:   "silent until the capture ends, nothing asked, so nothing known",
		Means:   "It may be dead already: without a probe, a heartbeat or data nobody can tell.",
		Refutes: []string{"an answer to anything sent later"},
		Alike:   []string{"healthy between two keepalives", "silent-drop that nobody has noticed yet"},
		Do:      []string{"let the capture run until something is sent", "turn keepalives on"},
	},
	{
		ID: "healthy", Kind: OfVerdict,
		Short:   "open at the end of the capture and nothing wrong",
		Means:   "What was asked last was answered. That holds until the last answer, not until the end of the file.",
		Both:    "probes, heartbeats or data cross both ways",
		One:     "answers are seen, and the prober takes them: it stays at its idle pace and its echoed timestamp moves on",
		Refutes: []string{"the prober gives up all the same"},
		Alike:   []string{"proxy-answer: a device answers for the peer"},
		Do:      []string{"nothing"},
	},
	{
		ID: "closed", Kind: OfVerdict,
		Short:   "a FIN or an application's own RST ended it",
		Means:   "An end closed it in the ordinary way.",
		Refutes: []string{"the FIN or RST was not sent by the end that it names (forged-reset)"},
		Alike:   []string{"idle-close, where it had been silent", "heartbeat-timeout"},
		Do:      []string{"nothing, unless nobody meant it"},
	},
}

var causePages = []Page{
	{
		ID: "idle-expiry", Kind: OfCause, Short: "an idle timer ran out: the gap was longer than any that was survived",
		Means:   "Proven only with a control that crosses while this connection is lost, or where several connections die above and live below one idle age; else likely, since an outage that began during the silence looks the same.",
		Refutes: []string{"the same gap was survived before", "all connections died at one moment, whatever their age"},
		Do:      []string{"keepalives below the limit, or a longer timeout on the device"},
	},
	{
		ID: "state-lost", Kind: OfCause, Short: "the device lost its state at one moment: flush, reboot, fail-over, full table",
		Means:   "The same gap was survived before, or connections of every age died together. A change of the peer's MAC address, gratuitous ARP or a step in TTL at that moment supports it.",
		Refutes: []string{"connections that were silent for less long live on"},
		Do:      []string{"look at the device's uptime, cluster log and table size; keepalives do not prevent it"},
	},
	{
		ID: "other-backend", Kind: OfCause, Short: "a load balancer sent the connection to another backend",
		Means:   "The backend that answers does not know the connection.",
		Refutes: []string{"one backend alone behind the address"},
		Do:      []string{"raise the balancer's idle timeout or its stickiness; keepalives below it"},
	},
	{
		ID: "injected", Kind: OfCause, Short: "a third party sent the packet that ended it",
		Means:   "The packet copies fields of the one that triggered it, or comes from a hop where neither end is.",
		Refutes: []string{"the same packet in the capture of the end that it names"},
		Do:      []string{"look for intrusion prevention, content filters and censors on the way"},
	},
	{
		ID: "unknown", Kind: OfCause, Short: "nothing tells why",
		Means:   "What happened is known, why is not.",
		Refutes: []string{"a control in the next capture"},
		Do:      []string{"run a slow ping and a second connection beside the next capture"},
	},
}

var findingPages = []Page{
	{ID: "packet-loss", Kind: OfFinding, Short: "segments were lost and repeated, and the connection went on", Means: "Ordinary loss: no idle timer does that.", Do: []string{"nothing, unless there is much of it"}},
	{ID: "transient-outage", Kind: OfFinding, Short: "nothing crossed for a while, then all did", Means: "Repaired by itself; a keepalive policy must sit such outages out.", Do: []string{"keep (count - 1) × interval above the length of such outages"}},
	{ID: "no-keepalive", Kind: OfFinding, Short: "neither end sent keepalive probes", Means: "Nothing refreshed the path's state during the silence, and nobody noticed the death.", Do: []string{"turn keepalives on at one end at least"}},
	{ID: "keepalive-too-slow", Kind: OfFinding, Short: "the first probe comes too late for this path", Means: "With the defaults of most systems keepalives only discover the loss: the first probe comes after two hours.", Do: []string{"set the idle time that the report advises"}},
	{ID: "keepalive-too-eager", Kind: OfFinding, Short: "an end gave up although the path was alive again within seconds", Means: "The policy is so short that a glitch ends the session.", Do: []string{"raise the count, keep the idle time below the limit"}},
	{ID: "state-relearned", Kind: OfFinding, Short: "after an idle gap one side's segments were lost until the other side spoke", Means: "An expired timer that the inside renews: not an outage.", Do: []string{"keepalives on the side that revives it"}},
	{ID: "own-silence", Kind: OfFinding, Short: "probes due by the host's own policy are missing from the capture taken on it", Means: "Its link was down, it slept, or the capture stopped. Its timestamps afterwards tell sleep from link.", Do: []string{"look at the host, not at the path"}},
	{ID: "host-suspended", Kind: OfFinding, Short: "silent both ways, then resumes with its timestamps behind", Means: "The host slept.", Do: []string{"switch sleep off, or let sessions end cleanly before it"}},
	{ID: "late-rst", Kind: OfFinding, Short: "a side that had given up answers a later packet with a RST", Means: "The death was earlier; this only tells the other end of it.", Do: []string{"look at the earlier moment"}},
	{ID: "device-probes", Kind: OfFinding, Short: "probes that a device sends in a host's name", Means: "Dead connection detection of a firewall, or a sleep proxy: other TTL, other IP ID, no timestamps.", Do: []string{"do not count them as the host's policy"}},
	{ID: "nat", Kind: OfFinding, Short: "addresses are translated between the captures", Means: "The translator keeps state for the connection, and forgets it when idle for too long.", Do: []string{"name the address of each side when you ask its owner"}},
	{ID: "sack-not-shifted", Kind: OfFinding, Short: "SACK edges name octets that were never sent", Means: "A firewall rewrites sequence numbers and leaves the edges of SACK blocks alone. The sender ignores such blocks: each loss then costs a timeout.", Do: []string{"turn the rewriting off, or SACK", "Cisco ASA: set connection random-sequence-number disable"}},
	{ID: "seq-shift", Kind: OfFinding, Short: "sequence numbers are rewritten between the captures", Means: "A firewall that makes initial sequence numbers random; it cannot pass on what it has no state for.", Do: []string{"remember it when you compare frames by hand"}},
	{ID: "capture-quality", Kind: OfFinding, Short: "the capture limits what can be said", Means: "Dropped frames, one direction, a second recording of the same packets: nothing is concluded from absence there.", Do: []string{"capture again on the hosts themselves, with a larger buffer"}},
	{ID: "probes-unanswered", Kind: OfFinding, Short: "an end asked again and again and got no answer", Means: "One unanswered probe proves nothing, several in a row mean that questions or answers are lost, or that nobody is there.", Do: []string{"the other end's capture tells which"}},
	{ID: "data-unanswered", Kind: OfFinding, Short: "an end sent data again and again and nothing acknowledged it", Means: "Data or acknowledgments are lost, or nobody is there. Keepalives are silent while data waits: the retransmission timer decides how long it takes to notice.", Do: []string{"the other end's capture tells which"}},
	{ID: "nothing-crosses", Kind: OfFinding, Short: "of the segments sent since, none is in the other capture", Means: "The other capture was recording and holds none of them: they were lost on the way.", Do: []string{"look between the two captures"}},
	{ID: "both-ask-in-vain", Kind: OfFinding, Short: "both ends probe and neither is answered", Means: "Seen from in between: each end lives, so what the other sends does not reach it.", Do: []string{"capture on both sides of the device at this place"}},
	{ID: "direction-crosses", Kind: OfFinding, Short: "one direction still crosses", Means: "What this end sends arrives after the silence as before it.", Do: []string{"look at what is stateful on the way of the other direction"}},
	{ID: "direction-lost", Kind: OfFinding, Short: "one direction is lost", Means: "Nothing that this end sent since is in the other capture.", Do: []string{"look at the way of this direction"}},
	{ID: "control-crosses", Kind: OfFinding, Short: "something else between the hosts crosses while this connection is lost", Means: "The path works: what is gone is this connection's state.", Do: []string{"look for a stateful device, not for a failed link"}},
	{ID: "control-lives", Kind: OfFinding, Short: "another connection between the hosts lives on", Means: "The host and the path work.", Do: []string{"look for what forgot this connection alone"}},
	{ID: "control-lost", Kind: OfFinding, Short: "something else between the hosts is lost at the same time", Means: "Not this connection but the path failed.", Do: []string{"look for a failed link or route"}},
	{ID: "echo-frozen", Kind: OfFinding, Short: "the prober echoes an old timestamp though it was answered", Means: "It takes none of the answers: they are lost behind this capture, or its own host drops them.", Do: []string{"capture on the prober's host"}},
	{ID: "answered-and-lost", Kind: OfFinding, Short: "answers leave and do not arrive", Means: "The questions arrive; the way back is dead.", Do: []string{"look at the way of the answers"}},
	{ID: "socketless-rst", Kind: OfFinding, Short: "the RST has the shape that a host without the socket sends", Means: "No options, window 0, IP ID 0, sequence number copied from the acknowledgment: the sender knew nothing of the connection. Devices forge the same shape.", Do: []string{"is the RST in the capture of the end that it names?"}},
	{ID: "rst-attribution", Kind: OfFinding, Short: "who sent the RST, item by item", Means: "Each field is held against the end's earlier packets, against a host without the socket, and against the packet that triggered it.", Do: []string{"read the items: time and hop distance weigh most"}},
	{ID: "rst-not-sent", Kind: OfFinding, Short: "the end named by the RST did not send it", Means: "It is missing in the capture nearest to that end, which was recording.", Do: []string{"look for the device between that speaks in its name"}},
	{ID: "answers-too-near", Kind: OfFinding, Short: "answers come sooner, or from nearer, than the peer's can", Means: "A device answers in its place.", Do: []string{"use a heartbeat of the application"}},
	{ID: "window-shut", Kind: OfFinding, Short: "the window stayed shut", Means: "The receiver's program does not read.", Do: []string{"look at that program"}},
	{ID: "heartbeats-unanswered", Kind: OfFinding, Short: "heartbeats are acknowledged and not answered", Means: "The kernel lives, the application does not.", Do: []string{"look at the process on that host"}},
	{ID: "gave-up-on-heartbeats", Kind: OfFinding, Short: "an application closed where its next heartbeat would have been due", Means: "Its heartbeats had been answered and were not any more: it counted the missing answers and left.", Do: []string{"find out why the answers stopped", "raise the count if it was only a pause"}},
	{ID: "answered-too-late", Kind: OfFinding, Short: "the answer came when nobody waited any more", Means: "The path, the peer's host and its application work: the patience was shorter than the outage or the pause.", Do: []string{"raise the count of heartbeats, keep their interval"}},
	{ID: "icmp-error", Kind: OfFinding, Short: "an ICMP error quotes the connection", Means: "A router or host said that it does not deliver. TCP does not die of it, but knows why it will.", Do: []string{"its source address says who to ask"}},
	{ID: "documented-timer", Kind: OfFinding, Short: "the idle age is that of a documented timer", Means: "A setting with this default closes connections.", Do: []string{"kaflow facts closers shows how to change it"}},
	{ID: "same-idle-age", Kind: OfFinding, Short: "others ended in the same way after as long a silence", Means: "A timer and not a person closed them.", Do: []string{"look for an idle timeout of that service"}},
	{ID: "same-numbers", Kind: OfFinding, Short: "the same sequence numbers go on under another address or port", Means: "The translation changed in mid-connection.", Do: []string{"keepalives below the NAT's timeout"}},
	{ID: "turned-away", Kind: OfFinding, Short: "the server closed new connections of the same client right after the handshake", Means: "It allows no further session, or refuses this client, and still holds an old one.", Do: []string{"clear the old session at the server", "keepalives at the server, so that it notices"}},
	{ID: "neighbour-unanswered", Kind: OfFinding, Short: "a host is asked for its hardware address and does not answer", Means: "ARP or neighbour discovery at the last hop: nobody is there, whatever the path before it does.", Do: []string{"look at the host and at its switch port"}},
	{ID: "syn-challenged", Kind: OfFinding, Short: "a SYN from the same port was answered by a challenge ACK", Means: "The other end still holds the old connection.", Do: []string{"keepalives at that end, so that it notices"}},
	{ID: "proxy", Kind: OfFinding, Short: "a proxy ends the connection and opens another", Means: "What was seen on one side of it is not the connection of the other side. Its partner is known by the same addresses, or likely by the same octets, as many octets each way or the same moments of sending, with a margin over the next likely; where several could be it, none is named.", Do: []string{"keepalives on both sides of the proxy"}},
	{ID: "crosses-again", Kind: OfFinding, Short: "after the loss something of the connection crosses again", Means: "What forgot it learned it anew, or the outage ended.", Do: []string{"see which side spoke first: an expired timer is renewed from the inside"}},
	{ID: "large-ones-vanish", Kind: OfFinding, Short: "full-sized segments are lost and shorter ones pass", Means: "A link on the way takes smaller packets than the ends believe.", Do: []string{"lower the MTU or clamp the MSS on the tunnel"}},
}
