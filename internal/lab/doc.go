// Package lab makes captures with real kernels and real programs: a client, a
// router and a server in network namespaces of their own, joined by veth pairs
// and a relay that adds a realistic round trip, with nftables and conntrack on
// the router, ssh and sshd at the ends and tcpdump at every interface.
//
// A Scenario is one thing that can happen to a connection. Run plays it and
// gives the captures together with a Truth: what was done, when, and what the
// kernels counted meanwhile. Nothing in a Truth comes from kaflow, and nothing
// of kaflow is imported here, so the two can be held against each other.
//
// Running needs Linux and root; Missing says what else is not there. Reading,
// counting and stretching captures works everywhere.
package lab
