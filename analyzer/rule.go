package analyzer

import "kaflow/flows"

// Rule is one diagnosis: data and a pure function. It reads a subject, changes
// nothing, points at the frames that convinced it, and says what it lacks
// where it cannot be asked.
type Rule struct {
	ID  string // kebab-case; users filter on it, so it never changes
	Doc string // what it detects and why that matters
	Ask func(*Subject) Answer
}

// Answer is what a rule found. The zero value says "does not hold".
type Answer struct {
	Verdict    *Verdict // nil: the rule has none for this subject
	Findings   []Finding
	Hypotheses []Hypothesis
	Lacks      string // what is missing to ask the rule; "" where it was asked
}

// verdictRules in the order of precedence: the first that has a verdict gives
// it. Whether something arrived is settled before the ids of the path are
// asked, and these before what an ending looks like.
var verdictRules = [...]Rule{
	{NotEstablished, "The handshake never completed: refused by a RST, unanswered, or rejected. No idle timer can be blamed.", notEstablished},
	{NATRebind, "The connection goes on under another address or port, with the same sequence numbers: a NAT changed its translation in mid-flow.", natRebind},
	{HalfOpen, "One end holds a session that the other has forgotten: a SYN from the same port is answered by a challenge ACK, or a server that holds the old session turns the client's new ones away.", halfOpen},
	{ForgedReset, "The RST that ended the connection was not sent by the end whose name it bears: it never passed the capture nearer to that end, or came too soon, or from too near.", forgedReset},
	{ProxyAnswer, "Something between the ends answers keepalives that never reached the peer.", proxyAnswers},
	{MTUBlackHole, "Large segments vanish while smaller ones of the same end pass.", mtuBlackHole},
	{PathRejected, "A router, a firewall or the peer's network said by an ICMP error that it does not deliver. Also finds host-drop, peer-gone, path-cut and mtu-black-hole, as the code says.", saidByICMP},
	{PeerGone, "An end asks in vain while its peer's host does not answer requests for its hardware address either.", peerGone},
	{PeerLostState, "The peer rebooted or lost the socket: it answers a probe or data with the RST of a host that knows no such connection.", peerLostState},
	{SilentDrop, "After a silence nothing of this connection crosses between the captures any more, and nobody says why: something between forgot it. Also finds one-way-drop, path-cut, and undecided between them.", deathBetween},
	{OneWayDrop, "Captured at the answering side alone: probes come at the interval pace and are answered, yet the prober echoes an old timestamp, or keeps that pace and gives up: it accepts none of the answers.", frozenEcho},
	{CaptureGap, "Only the beginning and the end of a connection were captured, as by a filter on flags, and they show that there was more.", unseenMiddle},
	{ReceiverStalled, "One end's window stays shut: it does not read. What looks like keepalives are window probes.", receiverStalled},
	{AppHung, "The peer's kernel acknowledges an application's heartbeats, and its application answers none of them.", appHung},
	{HeartbeatTimeout, "An application closed the connection because its own heartbeats went unanswered, and nothing tells why they did.", heartbeatTimeout},
	{IdleClose, "An end closed an idle connection on purpose: after a documented timer, or at the idle age of others.", closedForIdleness},
	{ClosedNormally, "A FIN or an application's own RST ended the connection.", closedByEnds},
	{Undecided, "One capture shows an end that asks in vain. A control (a fresh SYN, an echo, a younger connection that lives) raises it to silent-drop. Seen from in between, both ends may ask in vain.", askedInVain},
	{Idle, "Silent until the capture ends, nothing asked, so nothing known: it may be dead already.", idleAtEnd},
	{Healthy, "Open at the end, and the last question was answered.", healthyAtEnd},
}

// other names the other side.
func other(side uint8) uint8 {
	if side == flows.Client {
		return flows.Server
	}
	return flows.Client
}

// sideName is the word for a side in a sentence.
func sideName(side uint8) string {
	switch side {
	case flows.Client:
		return "client"
	case flows.Server:
		return "server"
	}
	return "unknown"
}
