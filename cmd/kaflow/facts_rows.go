package main

import (
	"fmt"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/render"
)

// topics are the entries of a page, empty ones left out.
type topics []render.Topic

func (t *topics) add(name string, says ...string) {
	var kept []string
	for _, s := range says {
		if strings.Trim(s, "\t") != "" {
			kept = append(kept, s)
		}
	}
	if len(kept) > 0 {
		*t = append(*t, render.Topic{Name: name, Says: kept})
	}
}

func (t *topics) paste(name string, lines []string) {
	var says []string
	for _, l := range lines {
		says = append(says, render.Paste(l))
	}
	t.add(name, says...)
}

func defaultRows(word string) (out []factRow) {
	for _, d := range facts.Defaults() {
		if !d.Mentions(word) {
			continue
		}
		p := computed{system: &d, plan: d.Plan(), sum: d.Sum, step: d.Step(), payload: d.Payload}
		if d.SingleTimer != "" {
			p.sum = facts.IdleAndProbes
		}
		var t topics
		t.add("policy", p.words())
		t.add("notices a death after", p.detection())
		t.add("where sources differ", p.readings()...)
		t.add("applies to", d.AppliesTo)
		t.add("versions", d.Versions)
		t.add("limits", d.Limits)
		t.add("gives up with", d.GivesUpWith)
		t.add("remember", d.Notes)
		t.add("change it with", strings.Join(d.Remedies, ", "))
		out = append(out, factRow{
			id: d.ID, line: []string{secs(d.Detection), d.Name}, backing: d.Backing,
			page: render.Section{Head: d.Name, Topics: t}, json: defaultJSON(&d, &p),
		})
	}
	return out
}

func timeoutRows(word string) (out []factRow) {
	for _, r := range facts.Timeouts() {
		if !r.Mentions(word) {
			continue
		}
		var t topics
		t.add("idle timeout", secs(r.Idle)+", "+r.State, portsText(r.Ports))
		t.add("range", r.Range)
		t.add("probes refresh it", r.KeepaliveRefreshes.String())
		t.add("at expiry", r.AtExpiry)
		t.add("the next packet", r.OnNextPacket)
		t.paste("change it with", r.HowToChange)
		t.add("remedies", strings.Join(r.Remedies, ", "))
		t.add("remember", r.Notes)
		out = append(out, factRow{
			id: r.ID, line: []string{secs(r.Idle), r.Class, r.Name}, backing: r.Backing,
			page: render.Section{Head: r.Name, Topics: t},
			json: timeoutJSON{
				r.ID, r.Name, r.Label(), r.Class, known(r.Idle), r.State, list(r.Ports), r.KeepaliveRefreshes.String(), r.AtExpiry,
				r.OnNextPacket, r.Range, r.Notes, list(r.HowToChange), list(r.Remedies), backingOf(r.Backing),
			},
		})
	}
	return out
}

func heartbeatRows(word string) (out []factRow) {
	for _, h := range facts.Heartbeats() {
		if !h.Mentions(word) {
			continue
		}
		var t topics
		t.add("ports", portsText(h.Ports))
		t.add("direction", h.Direction)
		t.add("payload", lengthsText(h.Lens), octetsText("begins with", h.Prefixes))
		t.add("answer", h.Answer, lengthsText(h.AnswerLens), octetsText("begins with", h.AnswerPrefixes))
		t.add("every", h.Every)
		t.add("dead after", h.DeadAfter)
		t.add("by size and rhythm", h.Match)
		t.add("remember", h.Notes)
		out = append(out, factRow{
			id: h.ID, line: []string{portsText(h.Ports), h.Protocol}, backing: h.Backing,
			page: render.Section{Head: h.Protocol, Topics: t},
			json: heartbeatJSON{
				h.ID, h.Protocol, list(h.Ports), h.Encrypted, h.Direction, list(h.Lens), hexes(h.Prefixes), h.Answer, h.Unanswered,
				list(h.AnswerLens), hexes(h.AnswerPrefixes), h.Every, h.DeadAfter, h.Match, h.Notes, backingOf(h.Backing),
			},
		})
	}
	return out
}

func closerRows(word string) (out []factRow) {
	for _, c := range facts.Closers() {
		if !c.Mentions(word) {
			continue
		}
		after := "off until somebody sets it"
		if c.Idle > 0 {
			after = secs(c.Idle)
		}
		var t topics
		t.add("closes after", after)
		t.add("sends", c.Sends+", from the "+c.Who+"'s side")
		t.add("ports", portsText(c.Ports))
		t.add("setting", c.Setting)
		t.paste("change it with", c.Change)
		t.add("remember", c.Notes)
		out = append(out, factRow{
			id: c.ID, line: []string{secs(c.Idle), c.Who, c.Name}, backing: c.Backing,
			page: render.Section{Head: c.Name, Topics: t},
			json: closerJSON{c.ID, c.Name, list(c.Ports), known(c.Idle), c.OffByDefault, c.Sends, c.Who, c.Setting, list(c.Change), c.Notes, backingOf(c.Backing)},
		})
	}
	return out
}

func remedyRows(word string) (out []factRow) {
	for _, r := range facts.Remedies() {
		if !r.Mentions(word) {
			continue
		}
		var t topics
		t.paste("until the next start", r.OneOff)
		t.paste("for good", r.Persistent)
		t.add("applies to", r.AppliesTo)
		if r.NeedsSoKeepalive {
			t.add("needs", "SO_KEEPALIVE on the socket")
		}
		t.add("remember", r.Caveats...)
		t.add("check", r.Verify)
		out = append(out, factRow{
			id: r.ID, line: []string{r.Side, r.Platform}, backing: r.Backing,
			page: render.Section{Head: r.Platform, Topics: t}, json: remedyOf(&r, facts.Values{}),
		})
	}
	return out
}

func logRows(word string) (out []factRow) {
	for _, l := range facts.Logs() {
		if !l.Mentions(word) {
			continue
		}
		var t topics
		t.paste("search for", l.Search)
		t.paste("when the timer ran out", l.Expiry)
		t.paste("counters and tables", l.Counters)
		t.paste("log it with", l.Enable)
		t.add("logged by default", l.LoggedByDefault.String())
		t.add("timeouts", strings.Join(l.Timeouts, ", "))
		t.add("remember", l.Notes)
		out = append(out, factRow{
			id: l.ID, line: []string{strings.Join(l.Search, "; ")}, backing: l.Backing,
			page: render.Section{Head: l.Name, Topics: t},
			json: logJSON{l.ID, l.Name, list(l.Timeouts), list(l.Search), list(l.Expiry), list(l.Counters), list(l.Enable), l.LoggedByDefault.String(), l.Notes, backingOf(l.Backing)},
		})
	}
	return out
}

// secs writes whole seconds, "-" where there are none.
func secs(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

// portsText lists ports, "" for none.
func portsText(ports []int) string {
	if len(ports) == 0 {
		return ""
	}
	return "port " + joined(ports)
}

// lengthsText lists payload lengths, "" for none.
func lengthsText(lens []int) string {
	if len(lens) == 0 {
		return ""
	}
	return joined(lens) + " octets"
}

func joined(numbers []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(numbers)), ", "), "[]")
}

// octetsText lists first octets in hexadecimal, "" for none.
func octetsText(what string, raw []string) string {
	if len(raw) == 0 {
		return ""
	}
	return what + " " + strings.Join(hexes(raw), " or ")
}

func hexes(raw []string) []string {
	out := []string{}
	for _, s := range raw {
		out = append(out, fmt.Sprintf("%x", s))
	}
	return out
}

// list is a slice that JSON writes as [] where it is empty.
func list[T any](s []T) []T { return append([]T{}, s...) }

func defaultJSON(d *facts.Default, p *computed) any {
	j := p.json()
	j.Limits, j.Lines = nil, nil
	return struct {
		policyJSON
		Kind        string   `json:"kind"`
		OnByDefault string   `json:"on_by_default"`
		ProbeOctets *int     `json:"probe_octets"`
		Formula     string   `json:"formula"`
		Units       string   `json:"units"`
		Range       string   `json:"range"`
		Versions    string   `json:"versions"`
		AppliesTo   string   `json:"applies_to"`
		GivesUpWith string   `json:"gives_up_with"`
		Notes       string   `json:"notes"`
		ChangedBy   []string `json:"remedy_ids"`
	}{j, d.Kind, d.OnByDefault.String(), octetsOf(d), d.Formula, d.Units, d.Limits, d.Versions, d.AppliesTo, d.GivesUpWith, d.Notes, list(d.Remedies)}
}

// octetsOf is the payload of a probe, nil where it is not known.
func octetsOf(d *facts.Default) *int {
	if d.ProbeOctets < 0 {
		return nil
	}
	return &d.ProbeOctets
}

type timeoutJSON struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Label        string   `json:"label"`
	Class        string   `json:"class"`
	Idle         *float64 `json:"idle_s"`
	State        string   `json:"state"`
	Ports        []int    `json:"ports"`
	Refreshes    string   `json:"keepalive_refreshes"`
	AtExpiry     string   `json:"at_expiry"`
	OnNextPacket string   `json:"on_next_packet"`
	Range        string   `json:"range"`
	Notes        string   `json:"notes"`
	HowToChange  []string `json:"how_to_change"`
	Remedies     []string `json:"remedy_ids"`
	backingJSON
}

type heartbeatJSON struct {
	ID             string   `json:"id"`
	Protocol       string   `json:"protocol"`
	Ports          []int    `json:"ports"`
	Encrypted      bool     `json:"encrypted"`
	Direction      string   `json:"direction"`
	Lens           []int    `json:"payload_octets"`
	Prefixes       []string `json:"prefixes_hex"`
	Answer         string   `json:"answer"`
	Unanswered     bool     `json:"unanswered"`
	AnswerLens     []int    `json:"answer_octets"`
	AnswerPrefixes []string `json:"answer_prefixes_hex"`
	Every          string   `json:"every"`
	DeadAfter      string   `json:"dead_after"`
	Match          string   `json:"match"`
	Notes          string   `json:"notes"`
	backingJSON
}

type closerJSON struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Ports        []int    `json:"ports"`
	Idle         *float64 `json:"idle_s"`
	OffByDefault bool     `json:"off_by_default"`
	Sends        string   `json:"sends"`
	Who          string   `json:"who"`
	Setting      string   `json:"setting"`
	Change       []string `json:"change"`
	Notes        string   `json:"notes"`
	backingJSON
}

type logJSON struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	Timeouts        []string `json:"timeout_ids"`
	Search          []string `json:"search"`
	Expiry          []string `json:"expiry"`
	Counters        []string `json:"counters"`
	Enable          []string `json:"enable"`
	LoggedByDefault string   `json:"logged_by_default"`
	Notes           string   `json:"notes"`
	backingJSON
}
