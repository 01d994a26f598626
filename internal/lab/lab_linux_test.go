package lab_test

import (
	"context"
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"kaflow/internal/lab"
)

// seedFlag draws the timers of TestLab; LAB_SEED does the same. 0 draws a seed.
var seedFlag = flag.Uint64("seed", 0, "draw the lab's timers from this seed; 0: a new one every time")

// needLab skips where no lab can be built, and fails there with LAB=require.
func needLab(t *testing.T) {
	t.Helper()
	why := lab.Missing()
	switch {
	case why == "":
	case os.Getenv("LAB") == "require":
		t.Fatalf("LAB=require, but there is no lab: %s", why)
	default:
		t.Skipf("no lab: %s", why)
	}
}

// labSeed returns the seed of this run and prints it.
func labSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *seedFlag
	if text := os.Getenv("LAB_SEED"); seed == 0 && text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LAB_SEED=%s: %v", text, err)
		}
	}
	if seed == 0 {
		seed = uint64(time.Now().Unix())
	}
	t.Logf("timers drawn from -seed %d", seed)
	return seed
}

// TestLab plays every scenario. Run compares probes, resets, retransmissions
// and losses in the captures with what the kernels counted; what else must be
// true of a scenario is in truths.
func TestLab(t *testing.T) {
	needLab(t)
	seed := labSeed(t)
	scenarios := lab.Scenarios()
	for i := range scenarios {
		scenarios[i].Seed = seed
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute) // a hang guard
	defer cancel()
	// Not as parallel subtests: those are limited by the number of processors,
	// and scenarios sleep.
	for _, outcome := range lab.Play(ctx, t.TempDir(), scenarios) {
		t.Run(outcome.Scenario.Name, func(t *testing.T) {
			for _, err := range outcome.Thrown {
				t.Logf("thrown away: %v", err)
			}
			if outcome.Err != nil {
				t.Fatal(outcome.Err)
			}
			run := outcome.Run
			holds, ok := truths[run.Truth.Scenario]
			if !ok {
				t.Fatalf("no truth is written down for %s", run.Truth.Scenario)
			}
			holds(t, run, outcome.Scenario.Timers())
			checkRouterCaptures(t, run)
			again, err := lab.ReadRun(run.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(again.Captures), len(run.Captures); got != want || again.Truth.Path != run.Truth.Path {
				t.Errorf("read back %d captures and path %+v, want %d and %+v", got, again.Truth.Path, want, run.Truth.Path)
			}
		})
	}
}

// truths says, by scenario, what must be true of a run whatever its timers.
var truths = map[string]func(*testing.T, *lab.Run, lab.Timers){
	"ssh-silent-drop":              bothGaveUp,
	"ssh-silent-drop-with-control": bothGaveUp,
	"ssh-path-cut-unseen":          bothGaveUp,
	"ssh-path-cut-syn-lost":        bothGaveUp,
	"silent-drop-started-late":     bothGaveUp,
	"ssh-snat-silent-drop":         bothGaveUp,
	"ssh-dnat-silent-drop":         bothGaveUp,
	"ssh-hairpin-silent-drop":      bothGaveUp,
	"ssh-silent-drop-ipv6":         bothGaveUp,
	"ssh-silent-drop-any": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		bothGaveUp(t, r, timers)
		if r.Captures[lab.AtClientAny] == "" || r.Captures[lab.AtRouterAny] == "" {
			t.Errorf("captures %v lack those on all interfaces", r.Captures)
		}
	},
	"offload-silent-drop": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		bothGaveUp(t, r, timers)
		large := func(at string) (n int) {
			frames, err := lab.ReadPcap(r.Captures[at])
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range frames {
				n = max(n, f.Len)
			}
			return n
		}
		if c, s := large(lab.AtClient), large(lab.AtRouterServer); c <= 1500 || s > 1500 {
			t.Errorf("the largest segment has %d octets at the client and %d behind the router: nothing was cut", c, s)
		}
	},
	"proxy-crowd": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 0)
		if len(r.Truth.Partners) != len(r.Truth.Flows) || len(r.Truth.Flows) < 20 {
			t.Errorf("%d connections, %d partners", len(r.Truth.Flows), len(r.Truth.Partners))
		}
	},
	"ssh-through-proxy": answered,
	"snat-crowd": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		dead := 0
		for _, f := range r.Truth.Flows {
			if f.Expect.Verdict == "silent-drop" {
				dead++
			}
		}
		resets(t, r, dead, 0)
		if len(r.Truth.Translated) != len(r.Truth.Flows) || dead == 0 || r.Truth.Path.Dropped != dead*(timers.Count+1) {
			t.Errorf("%d connections, %d translated, %d dead, %d packets dropped", len(r.Truth.Flows), len(r.Truth.Translated), dead, r.Truth.Path.Dropped)
		}
	},
	"ssh-one-way-drop": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		// The client's probes and its RST arrive; only the answers are lost.
		probes(t, r, timers.Count, 0)
		resets(t, r, 1, 0)
		if r.Truth.Path.Dropped != timers.Count {
			t.Errorf("%d packets dropped, want the %d answers", r.Truth.Path.Dropped, timers.Count)
		}
	},
	"ssh-healthy":          answered,
	"ssh-clean-close":      answered,
	"healthy-started-late": answered,
	"ssh-no-keepalive": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 0)
	},
	"zero-window-stall": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		client, server := r.Truth.Ends[lab.AtClient].Counters, r.Truth.Ends[lab.AtServer].Counters
		if client.WindowProbes < 4 || client.KeepaliveProbes != 0 || server.KeepaliveProbes < 2 || server.WindowProbes != 0 {
			t.Errorf("client %+v, server %+v: want window probes of the client and keepalives of the server alone", client, server)
		}
	},
	"one-octet-loss": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		c := r.Truth.Ends[lab.AtClient].Counters
		if r.Truth.Path.Dropped != 6 || c.Retransmissions < 6 || c.LossProbes < 1 || c.KeepaliveProbes < 1 {
			t.Errorf("dropped %d, client %+v: want 6 octets lost, all repeated, loss probes among them, and keepalives later", r.Truth.Path.Dropped, c)
		}
	},
	"ssh-peer-lost-state": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 1, 0)
		resets(t, r, 0, 1)
	},
	"ssh-reject-reset": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		// The RST is the router's: neither kernel sent one.
		probes(t, r, 1, 0)
		resets(t, r, 0, 0)
		dropped(t, r, 1)
	},
	"ssh-reject-icmp": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		probes(t, r, timers.Count, 0)
		resets(t, r, 1, 0)
		dropped(t, r, timers.Count+1)
	},
	"ssh-host-filter":   clientGaveUp,
	"ssh-prober-filter": clientGaveUp,
	"idle-close": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 0)
		dropped(t, r, 0)
	},
	"ssh-peer-gone-icmp": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		probes(t, r, timers.Count, 0)
		resets(t, r, 1, 0)
		dropped(t, r, timers.Count+1)
	},
	"ssh-peer-gone": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		probes(t, r, timers.Count, 0)
		resets(t, r, 1, 0)
		dropped(t, r, timers.Count+1)
	},
	"ssh-peer-rebooted": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 1, 0)
		resets(t, r, 0, 1)
		dropped(t, r, 0)
	},
	"idle-fleet": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		resets(t, r, 4, 4)
		dropped(t, r, 8*(timers.Count+1))
	},
	"conntrack-flush": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		resets(t, r, 3, 0)
		dropped(t, r, 3*(timers.Count+1))
	},
	"user-timeout": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		resets(t, r, 1, 0)
		if n := r.Truth.Ends[lab.AtClient].Counters.KeepaliveProbes; n < 1 || n >= timers.Count {
			t.Errorf("%d probes before the user timeout, want fewer than the count of %d", n, timers.Count)
		}
	},
	"ssh-nat-rebind": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 1, 0)
		resets(t, r, 0, 1)
		dropped(t, r, 0)
	},
	"half-open-same-port": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		resets(t, r, 1, 0)
		dropped(t, r, 0)
	},
	"half-open-one-login": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 1)
		resets(t, r, 1, 0)
		dropped(t, r, 0)
	},
	"ssh-proxy-answer": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		resets(t, r, 0, 0)
		if n := r.Truth.Ends[lab.AtClient].Counters.KeepaliveProbes; n < 6 || r.Truth.Path.Dropped < 6 || r.Truth.Path.Dropped > n {
			t.Errorf("%d probes, %d swallowed, want nearly all of them", n, r.Truth.Path.Dropped)
		}
	},
	"mtu-black-hole": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 0)
		if r.Truth.Path.Dropped < 6 || r.Truth.Ends[lab.AtClient].Counters.Retransmissions < 4 {
			t.Errorf("%d packets dropped, client %+v: want large segments and their repetitions", r.Truth.Path.Dropped, r.Truth.Ends[lab.AtClient].Counters)
		}
	},
	"firewall-relearns": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		resets(t, r, 0, 1)
		dropped(t, r, timers.Count+1)
	},
	"ssh-client-hung":  silentKernels,
	"ssh-alive":        silentKernels,
	"ssh-client-alive": silentKernels,
	"ssh-app-hung":     silentKernels,
	"ssh-alive-outage": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		// ssh is gone when its request arrives: its kernel resets the answer.
		probes(t, r, 0, 0)
		resets(t, r, 1, 0)
		if r.Truth.Path.Dropped < 3 || r.Truth.Ends[lab.AtClient].Counters.Retransmissions < 3 {
			t.Errorf("%d packets dropped, client %+v: want a request and its repetitions", r.Truth.Path.Dropped, r.Truth.Ends[lab.AtClient].Counters)
		}
	},
	"host-suspended": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		resets(t, r, 0, 0)
		if n := r.Truth.Path.Unheard; n < 3 || n != r.Truth.Path.Dropped {
			t.Errorf("%d probes came to the host that slept, %d packets dropped, want the server's probes", n, r.Truth.Path.Dropped)
		}
	},
	"host-suspended-gave-up": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		probes(t, r, 1, timers.Peer.Count)
		resets(t, r, 0, 2) // that of the end of its patience, and that of a host without the socket
		if n := r.Truth.Path.Unheard; n != timers.Peer.Count+1 || n != r.Truth.Path.Dropped {
			t.Errorf("%d packets came to the host that slept, want %d probes and a RST", n, timers.Peer.Count)
		}
	},
	"carrier-loss-client": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		resets(t, r, 0, 0)
		dropped(t, r, 0)
		if n := r.Truth.Ends[lab.AtClient].Unsent.KeepaliveProbes; n < 2 {
			t.Errorf("%d probes found no link, want 2 and more", n)
		}
	},
	"carrier-loss-server": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		resets(t, r, 1, 1)
		dropped(t, r, timers.Count+1)
		if n := r.Truth.Ends[lab.AtServer].Unsent; n.KeepaliveProbes != timers.Count || n.OutRsts != 1 {
			t.Errorf("%+v of the server found no link, want %d probes and a RST", n, timers.Count)
		}
	},
	"injected-reset": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		resets(t, r, 0, 0) // neither is a kernel's
		dropped(t, r, 1)
	},
	"late-rst": func(t *testing.T, r *lab.Run, timers lab.Timers) {
		probes(t, r, timers.Count, 1)
		resets(t, r, 2, 0)
		dropped(t, r, timers.Count+2) // with the fresh SYN
	},
	"flush-under-load": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 0)
		if r.Truth.Path.Dropped < 9 {
			t.Errorf("%d packets dropped, want what three connections sent again and again", r.Truth.Path.Dropped)
		}
	},
	"not-established": func(t *testing.T, r *lab.Run, _ lab.Timers) {
		probes(t, r, 0, 0)
		resets(t, r, 0, 2)
		if r.Truth.Path.Dropped < 3 {
			t.Errorf("%d SYNs dropped, want at least 3", r.Truth.Path.Dropped)
		}
	},
}

// bothGaveUp says that each end sent all its probes and a RST, and nothing of
// them arrived.
func bothGaveUp(t *testing.T, r *lab.Run, timers lab.Timers) {
	t.Helper()
	probes(t, r, timers.Count, timers.Count)
	resets(t, r, 1, 1)
	lost := 2 * (timers.Count + 1)
	if r.Truth.Path.Control == "lost" {
		lost += len(r.Truth.Flows) - 1 // one SYN each
	}
	if r.Truth.Path.Dropped != lost {
		t.Errorf("%d packets dropped, want %d", r.Truth.Path.Dropped, lost)
	}
}

// silentKernels says that no kernel probed or reset, and nothing was lost: what
// asks is an application.
func silentKernels(t *testing.T, r *lab.Run, _ lab.Timers) {
	t.Helper()
	probes(t, r, 0, 0)
	resets(t, r, 0, 0)
	dropped(t, r, 0)
}

// clientGaveUp says that the client sent all its probes and a RST, and that
// nothing was lost between the hosts.
func clientGaveUp(t *testing.T, r *lab.Run, timers lab.Timers) {
	t.Helper()
	probes(t, r, timers.Count, 0)
	resets(t, r, 1, 0)
	dropped(t, r, 0)
}

func dropped(t *testing.T, r *lab.Run, want int) {
	t.Helper()
	if r.Truth.Path.Dropped != want {
		t.Errorf("%d packets dropped, want %d", r.Truth.Path.Dropped, want)
	}
}

// answered says that both ends probed and nobody gave up.
func answered(t *testing.T, r *lab.Run, _ lab.Timers) {
	t.Helper()
	for at, end := range r.Truth.Ends {
		if end.Counters.KeepaliveProbes < 2 {
			t.Errorf("%s sent %d probes, want at least 2", at, end.Counters.KeepaliveProbes)
		}
	}
	resets(t, r, 0, 0)
	if r.Truth.Path.Dropped != 0 {
		t.Errorf("%d packets dropped", r.Truth.Path.Dropped)
	}
}

func probes(t *testing.T, r *lab.Run, client, server int) {
	t.Helper()
	c, s := r.Truth.Ends[lab.AtClient].Counters, r.Truth.Ends[lab.AtServer].Counters
	if c.KeepaliveProbes != client || s.KeepaliveProbes != server || c.WindowProbes != 0 || s.WindowProbes != 0 {
		t.Errorf("client %+v, server %+v: want %d and %d keepalive probes", c, s, client, server)
	}
}

func resets(t *testing.T, r *lab.Run, client, server int) {
	t.Helper()
	c := r.Truth.Ends[lab.AtClient].Counters.OutRsts - besides(t, r, lab.AtClient)
	s := r.Truth.Ends[lab.AtServer].Counters.OutRsts - besides(t, r, lab.AtServer)
	if c != client || s != server {
		t.Errorf("%d RSTs of the client and %d of the server, want %d and %d", c, s, client, server)
	}
}

// besides counts the RSTs of an end on the connections beside the session that both ends
// close: a busy sshd resets one whose client has read the banner and left, once in some
// hundreds.
func besides(t *testing.T, r *lab.Run, at string) (n int) {
	t.Helper()
	frames, err := lab.ReadPcap(r.Captures[at])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Truth.Flows[min(1, len(r.Truth.Flows)):] {
		for _, frame := range frames {
			if f.Expect.Verdict == "closed" && frame.Flags&lab.FlagRST != 0 && frame.Src.Addr().String() == r.Truth.Ends[at].Address &&
				(frame.Src.String() == f.Client || frame.Dst.String() == f.Client) {
				n++
			}
		}
	}
	return n
}

// checkRouterCaptures says that the router's two interfaces saw what the ends
// sent: what is missing between them was dropped in the router.
func checkRouterCaptures(t *testing.T, r *lab.Run) {
	t.Helper()
	frames := map[string][]lab.Frame{}
	for _, at := range lab.Points() {
		var err error
		if frames[at], err = lab.ReadPcap(r.Captures[at]); err != nil {
			t.Fatal(err)
		}
	}
	outside := lab.Lost(frames[lab.AtClient], frames[lab.AtRouterClient], r.Truth.Ends)
	if outside != r.Truth.Path.Unheard {
		t.Errorf("%d packets differ between the client and the router's interface beside it, want %d", outside, r.Truth.Path.Unheard)
	}
	if got := len(frames[lab.AtRouterServer]); got == 0 {
		t.Error("nothing was captured at the router's interface towards the server")
	}
}
