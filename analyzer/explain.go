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
		Both:    "everything sent after the gap, by whichever end, is missing in the other capture while that was recording; before it the connection crossed. Where one end alone asked and no control crosses, possible and no more if the captures end while it still asks and the other one need not have been running, if the other end asks, too, when it is idle and is silent, if its host may have slept, or if only large segments were sent",
		One:     "unanswered right after an idle gap, and a control: another connection or a fresh SYN to the same host passes; possible and no more, for a filter on the peer's own host looks the same; without a control only a hypothesis",
		Refutes: []string{"anything of this connection that crosses later", "other traffic between the hosts dies at the same moment (path-cut)", "the packets arrive and the host does not answer (host-drop)"},
		Alike:   []string{"path-cut, where no control crosses", "one-way-drop, where one direction was not tried", "peer-gone, where the silent end's own capture holds nothing of it either", "peer-gone and host-drop, from the prober's capture alone"},
		Do:      []string{"set keepalives below the path's idle limit: the report names the value and the lines", "or raise the idle timeout of the device between", "ask its owner: the report has the times and the strings to search for"},
	},
	{
		ID: "one-way-drop", Kind: OfVerdict,
		Short:   "only one direction dies",
		Means:   "Packets of one end still arrive, those of the other do not: a device on one direction of an asymmetric path forgot the connection, or drops what it sees from one side only.",
		Both:    "after the gap one direction provably crosses while the other is lost: amid its losses, not before the second nor long after the last, and by captures that hold both directions",
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
		Both:    "the probe arrives unchanged, the RST leaves the peer, and the peer had not given up before; possible and no more where its own last questions went unanswered, data that it sent again was never acknowledged, or its capture misses what it sent or got",
		One:     "a RST of the shape that a host without the socket sends: likely in a capture taken beside that host, else possible, and possible after a minute of silence, for a peer that gave up earlier answers alike",
		Refutes: []string{"the peer sends more on the connection (then its host firewall rejects)", "the RST is missing in the peer's capture (forged-reset)"},
		Alike:   []string{"nat-rebind: the probe arrives under another port", "another backend behind a load balancer", "a peer that gave up during an outage and answers the late packet"},
		Do:      []string{"look for a restart of the program or host before that moment", "shorter keepalives notice it sooner; they do not prevent it"},
	},
	{
		ID: "peer-gone", Kind: OfVerdict,
		Short:   "the peer's host is down, suspended or cut off at its last hop",
		Means:   "Nothing of the host answers any more, on any connection.",
		Both:    "nothing of the host in a capture beside it while others there live; or its own capture ends and ICMP or ARP speaks; or its clock, keepalives or pings, of this connection or of another one between the two hosts, show that it was away: likely",
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
		Refutes: []string{"a full-sized segment that arrives after the first that did not", "short ones lost as well"},
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
		Both:    "the captures of both ends agree with more than one reading",
		One:     "an end asks in vain and nothing else between the hosts was seen: a device, the path or the peer",
		Alike:   []string{"any of the readings that it lists"},
		Refutes: []string{"the measurement that the report names"},
		Do:      []string{"take the capture that the report names, started before the login and left running past the death"},
	},
	{
		ID: "capture-gap", Kind: OfVerdict,
		Short:   "the captures cannot answer",
		Means:   "One direction, the beginning, or the time in question is missing, or more happened than is kept. The report says which.",
		Both:    "one of them does not cover the moment, or holds one direction alone",
		One:     "the same",
		Alike:   []string{"silent-drop, where the other capture was running after all"},
		Refutes: []string{"a capture that holds what is missing"},
		Do:      []string{"capture again as the report says; on the hosts themselves rather than on a mirror port"},
	},
	{
		ID: "idle", Kind: OfVerdict,
		Short:   "silent until the capture ends, nothing asked, so nothing known",
		Means:   "It may be dead already: without a probe, a heartbeat or data nobody can tell.",
		Both:    "neither end sends anything more, and both captures go on",
		One:     "the same; where the capture was taken on a host whose own keepalives were due, own-silence says so",
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
		Both:    "the FIN or RST leaves that end and crosses",
		One:     "FINs of both ends, or a RST that looks like that of the end's own socket (rst-attribution); likely where one direction alone was captured and its FIN is not sent again",
		Refutes: []string{"the FIN or RST was not sent by the end that it names (forged-reset)"},
		Alike:   []string{"idle-close, where it had been silent", "heartbeat-timeout"},
		Do:      []string{"nothing, unless nobody meant it"},
	},
}

var causePages = []Page{
	{
		ID: "idle-expiry", Kind: OfCause, Short: "an idle timer ran out: the gap was longer than any that was survived",
		Means:   "Proven only with a control that crosses while this connection is lost, or where several connections die above and live below one idle age; else likely, since an outage that began during the silence looks the same.",
		One:     "a control that crosses while this connection, silent for longer than any survived, is lost; or several that died above and others that lived below one idle age; or, of a timer that counts payload alone, several whose keepalives were answered that died at other moments and at one age of their last payload",
		Refutes: []string{"the same gap was survived before, and payload ended it", "all connections died at one moment, whatever their age"},
		Alike:   []string{"an outage that began during the silence", "state-lost: a table that was emptied during the silence"},
		Do:      []string{"keepalives below the limit, or a longer timeout on the device"},
	},
	{
		ID: "state-lost", Kind: OfCause, Short: "the device lost its state at one moment: flush, reboot, fail-over, full table",
		Means:   "A gap as long was survived before and a control crosses, or connections of every age died while a fresh one crosses; without a control the path may have been cut, and the verdict stays undecided. A change of the peer's MAC address, gratuitous ARP or a step in TTL at that moment supports it.",
		One:     "connections of every age lost from one moment on while a fresh one crosses; or a silence that was survived before and a control that crosses",
		Refutes: []string{"connections that were silent for less long live on"},
		Alike:   []string{"path-cut, where no control crosses", "idle-expiry of all that were idle alike", "idle-expiry by a timer that counts payload alone, where keepalives alone ended the silences that were survived"},
		Do:      []string{"look at the device's uptime, cluster log and table size; keepalives do not prevent it"},
	},
	{
		ID: "other-backend", Kind: OfCause, Short: "a load balancer sent the connection to another backend",
		Means:   "The backend that answers does not know the connection.",
		One:     "a RST right after a silence that the captured server never sent, though it took as long and came as many hops as that server's own answers: possible",
		Refutes: []string{"one backend alone behind the address"},
		Alike:   []string{"peer-lost-state: one host that rebooted", "nat-rebind"},
		Do:      []string{"raise the balancer's idle timeout or its stickiness; keepalives below it"},
	},
	{
		ID: "injected", Kind: OfCause, Short: "a third party sent the packet that ended it",
		Means:   "The packet copies fields of the one that triggered it, or comes from a hop where neither end is.",
		One:     "a RST that neither end's capture shows leaving, at no idle age, with a TTL or IP ID of its own",
		Refutes: []string{"the same packet in the capture of the end that it names"},
		Alike:   []string{"a firewall that forgot the connection and rejects: it comes right after a silence", "an end that rebooted"},
		Do:      []string{"look for intrusion prevention, content filters and censors on the way"},
	},
	{
		ID: "unknown", Kind: OfCause, Short: "nothing tells why",
		Means:   "What happened is known, why is not.",
		One:     "no control, no other connection, and no silence that would tell",
		Refutes: []string{"a control in the next capture"},
		Alike:   []string{"every other cause"},
		Do:      []string{"run a slow ping and a second connection beside the next capture"},
	},
}
