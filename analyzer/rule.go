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
	{PeerLostState, "The peer rebooted or lost the socket: it answers a probe or data with the RST of a host that knows no such connection.", peerLostState},
	{SilentDrop, "After a silence nothing of this connection crosses between the captures any more, and nobody says why: something between forgot it. Also finds one-way-drop, path-cut, and undecided between them.", deathBetween},
	{OneWayDrop, "Captured at the answering side alone: probes come at the interval pace and are answered, yet the prober echoes an old timestamp: it accepts none of the answers.", frozenEcho},
	{ReceiverStalled, "One end's window stays shut: it does not read. What looks like keepalives are window probes.", receiverStalled},
	{ClosedNormally, "A FIN or an application's own RST ended the connection.", closedByEnds},
	{Undecided, "One capture shows an end that asks in vain. A control (a fresh SYN, an echo, a younger connection that lives) raises it to silent-drop.", deathSeenFromOneEnd},
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
