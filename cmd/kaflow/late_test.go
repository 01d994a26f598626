package main

import (
	"testing"

	"kaflow/pairing"
)

// What came late was not missed. testdata/stalled is a run of the lab's scenario
// ssh-host-filter (Linux 6.18, OpenSSH 9.2, tcpdump at both ends) on a machine so
// busy that the path stood still for a moment during the login: nothing of it was
// lost, but the server's own firewall dropped the keepalives later.
func TestWhatComesLateIsNotMissed(t *testing.T) {
	client, server := "testdata/stalled/client.pcap", "testdata/stalled/server.pcap"
	r := pairing.Match([]pairing.Point{pointOf(t, client), pointOf(t, server)}, pairing.Options{})
	for _, p := range r.Pairs {
		for i := range p.Fates {
			if f := &p.Fates[i]; f.Missing > 0 {
				t.Errorf("%d of %d segments from frame %d on are said to be missed: %s", f.Missing, f.Count, f.Sent.Frame, f.Why)
			}
		}
	}
	found := false
	for _, f := range ask(t, client, server).Flows {
		found = found || f.Verdict.ID == "host-drop" && f.Verdict.Confidence == "proven"
	}
	if !found {
		t.Error("that the server's host drops what arrives is not proven")
	}
}
