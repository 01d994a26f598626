package facts_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kaflow/facts"
)

func TestWhoMayHaveClosedAnIdleConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		port int
		who  string
		idle time.Duration
		want []string
	}{
		{"a router's exec-timeout, or what somebody set", 22, "server", 600 * s,
			[]string{"cisco-exec-timeout", "shell-tmout", "sshd-channeltimeout", "sshd-unusedconnectiontimeout", "sshd-clientalive"}},
		{"the same port, another time", 22, "server", 300 * s,
			[]string{"shell-tmout", "sshd-channeltimeout", "sshd-unusedconnectiontimeout", "sshd-clientalive"}},
		{"a database at its default", 3306, "server", 28801 * s, []string{"mysql-wait-timeout"}},
		{"a database well before it", 3306, "server", 3600 * s, nil},
		{"the client's pool", 9092, "client", 540 * s, []string{"kafka-client-connections-max-idle"}},
		{"the broker", 9092, "server", 600 * s, []string{"kafka-connections-max-idle"}},
		{"an unknown port", 4711, "server", 600 * s, nil},
	} {
		var got []string
		for _, row := range facts.ClosersFor(c.port, c.who, c.idle) {
			got = append(got, row.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestLogsOfTheDevicesThatFit(t *testing.T) {
	var got []string
	for _, l := range facts.LogsOf(facts.TimeoutsBetween(1800*s, 3600*s)) {
		got = append(got, l.ID)
	}
	if diff := cmp.Diff([]string{"cisco-asa", "paloalto", "fortigate", "checkpoint"}, got); diff != "" {
		t.Error(diff)
	}
	if rows := facts.LogsOf(nil); rows != nil {
		t.Errorf("of no device: %v", rows)
	}
}
