package flows

import "fmt"

// Kind is what a segment was for. The words are part of the contract: they
// appear in every output.
type Kind uint8

// The kinds of segments. ICMPError is not one of a segment: it marks, in a
// flow's story, an ICMP error that quotes the flow.
const (
	Unknown Kind = iota
	SYN
	SYNACK
	Data
	ACK
	DupACK
	WindowUpdate
	KeepaliveProbe
	KeepaliveACK
	ZeroWindowProbe
	ZeroWindowACK
	Retransmission
	OutOfOrder
	FIN
	RST
	ChallengeACK
	Duplicate // the capture holds the same packet twice
	Heartbeat
	HeartbeatReply
	KeepaliveUnclear // a probe or an answer: only one direction was captured
	Stale            // of an earlier connection on the same ports
	ICMPError
	kinds
)

var kindNames = [kinds]string{
	"unknown", "syn", "syn-ack", "data", "ack", "dup-ack", "window-update",
	"keepalive-probe", "keepalive-ack", "zero-window-probe", "zero-window-ack",
	"retransmission", "out-of-order", "fin", "rst", "challenge-ack", "duplicate",
	"heartbeat", "heartbeat-reply", "keepalive-unclear", "stale", "icmp-error",
}

// String returns the kind's word.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Confidence says how sure a label is.
type Confidence uint8

// A label is certain, or inferred from later segments or from rhythm.
const (
	Certain Confidence = iota
	Inferred
)

// String returns the word.
func (c Confidence) String() string {
	if c == Inferred {
		return "inferred"
	}
	return "certain"
}

// Ending is how one end of a flow left it.
type Ending uint8

// The endings.
const (
	EndUnknown Ending = iota // not seen to end, and the capture cannot say
	EndOpen
	EndFIN
	EndRST         // it sent one
	EndReset       // it accepted one
	EndGaveUp      // probes, then RST
	EndTimedOut    // retransmissions ended silently
	EndUserTimeout // RST before the probe count can have run out
	EndHeartbeat   // its application closed when heartbeats went unanswered
	endings
)

var endingNames = [endings]string{"unknown", "open", "fin", "rst", "reset", "gave-up", "timed-out", "user-timeout", "heartbeat-timeout"}

// GaveUp reports whether an end stopped waiting for answers, with a RST.
func (e Ending) GaveUp() bool { return e == EndGaveUp || e == EndUserTimeout }

// String returns the ending's word.
func (e Ending) String() string {
	if e < endings {
		return endingNames[e]
	}
	return fmt.Sprintf("ending(%d)", uint8(e))
}

// Note holds what else is true of a segment, beside its kind.
type Note uint16

// The notes.
const (
	NoteWindowChanged Note = 1 << iota // the answer carries another window
	NoteDSACK                          // its first SACK block reports octets received twice
	NoteRepeated                       // a SYN or FIN sent again
	NoteAfterGap                       // first segment after an idle gap
	NoteOutOfWindow                    // RST, or a segment with both numbers far off, that the receiver does not accept
	NoteSimultaneous                   // crossed a segment of the other side
	NoteRevised                        // labelled after the fact
	NoteBadSum                         // TCP or IP checksum wrong
	NoteFullSize                       // as large as the largest segment of this direction
	NotePSH                            // carried payload with PSH
	NoteAnswersOld                     // answers a probe older than the newest open one
	NoteSACK                           // reports octets received beyond a hole
)
