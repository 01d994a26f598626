package main

import (
	"fmt"
	"strings"
	"time"

	"kaflow/facts"
	"kaflow/render"
)

// words says what the policy does.
func (p *computed) words() string {
	var says []string
	if p.paced() && p.plan.Idle == 0 {
		says = append(says, "a request after "+p.setting(p.plan.Interval)+" without data from the peer")
	}
	if p.plan.Idle > 0 {
		says = append(says, "first probe after "+p.setting(p.plan.Idle)+" of silence")
	}
	switch {
	case p.plan.Interval > 0 && p.plan.Idle > 0:
		says = append(says, "then every "+p.setting(p.plan.Interval))
	case p.plan.Idle > 0 && p.sum == facts.IdleAndAbort:
		says = append(says, "then as the retransmission timer says, doubling up to 60 s")
	case p.plan.Interval > 0 && p.paced():
		says = append(says, "again every "+p.setting(p.plan.Interval))
	case p.plan.Interval > 0:
		says = append(says, "idle time as the program sets it, then every "+p.setting(p.plan.Interval))
	}
	switch {
	case p.plan.Count > 0:
		says = append(says, fmt.Sprintf("gives up after %d unanswered", p.plan.Count))
	case p.plan.Abort > 0:
		says = append(says, "gives up "+p.setting(p.plan.Abort)+" after the first (abort interval)")
	}
	if len(says) == 0 {
		return "no values of its own"
	}
	text := strings.Join(says, ", ")
	if p.timerOff() {
		text = p.system.SingleTimer + " is off, TCP keepalive alone: " + text
	}
	if p.system != nil && p.system.OnByDefault == facts.No && p.asked == (facts.Plan{}) {
		text += "; off unless the program or the user asks for it"
	}
	return text
}

// setting writes a value as the system does, and in seconds.
func (p *computed) setting(d time.Duration) string {
	secs := fmt.Sprintf("%g s", d.Seconds())
	switch p.step {
	case time.Millisecond:
		return fmt.Sprintf("%d ms (%s)", d.Milliseconds(), secs)
	case time.Second / 2:
		return fmt.Sprintf("%s (%d half-seconds)", secs, d/(time.Second/2))
	}
	return secs
}

// lateness says how late a Linux kernel can be.
func (p *computed) lateness() string {
	latest := p.latest()
	if latest == 0 {
		return ""
	}
	return fmt.Sprintf("up to %.0f s on the wire: a Linux kernel's timers are late by up to an eighth, never early", latest.Seconds())
}

// readings lists what sources claim, each with what follows for the policy.
func (p *computed) readings() []string {
	if p.system == nil {
		return nil
	}
	var says []string
	for _, r := range p.system.Readings {
		text := r.Claim
		if sums := r.Write(p.asked, p.plan, p.step); len(sums) > 0 {
			text += ": " + strings.Join(sums, " to ")
		}
		if r.Taken {
			text += "; taken here"
		}
		says = append(says, text, "("+r.Source.Title+")")
	}
	return says
}

// outages says how long the path may be dead.
func (p *computed) outages() string {
	if p.sum != facts.IdleAndProbes {
		return ""
	}
	sure, best := p.plan.Outages()
	if best == 0 || p.plan.Idle == 0 {
		return ""
	}
	return fmt.Sprintf("shorter than %s always, longer than %s never; between them it depends on when they begin", facts.Human(sure), facts.Human(best))
}

// limits says which known path limits the policy outlives.
func (p *computed) limits() []string {
	if !p.paced() {
		return nil
	}
	by := p.meets()
	var says []string
	for _, o := range outcomes {
		if rows := by[o.is]; len(rows) > 0 {
			says = append(says, fmt.Sprintf("%d %s: %s", len(rows), o.says, spreadText(rows)))
		}
	}
	return says
}

// lines are what to type, with what to know about it.
func (p *computed) lines() []string {
	var says []string
	v := p.values()
	for _, r := range p.remedies() {
		if missing := r.Unfilled(v); len(missing) > 0 && v.Idle > 0 && v.Interval > 0 && v.Count > 0 {
			says = append(says, fmt.Sprintf("%s: cannot be set to these values (%s)", r.Platform, strings.Join(missing, ", ")))
			continue
		}
		says = append(says, pasted(r.Platform+", until the next start:", facts.Fill(r.OneOff, v))...)
		says = append(says, pasted(r.Platform+", for good:", facts.Fill(r.Persistent, v))...)
		if note := remedyNote(&r, v); note != "" {
			says = append(says, note)
		}
	}
	return says
}

// pasted is a heading with lines to paste; nothing where there are none.
func pasted(head string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	says := []string{head}
	for _, l := range lines {
		says = append(says, render.Paste(l))
	}
	return says
}

// remedyNote is what to know about the lines of a remedy.
func remedyNote(r *facts.Remedy, v facts.Values) string {
	var notes []string
	if r.AppliesTo != "" {
		notes = append(notes, "applies to "+r.AppliesTo)
	}
	if r.NeedsSoKeepalive {
		notes = append(notes, "nothing for a socket without SO_KEEPALIVE")
	}
	for _, c := range facts.Fill(r.Caveats, v) {
		if !strings.HasPrefix(c, "Gives up after") { // it is told above, in numbers
			notes = append(notes, strings.TrimSuffix(c, "."))
		}
	}
	if r.Verify != "" {
		notes = append(notes, "check: "+r.Verify)
	}
	if r.Shaky() {
		notes = append(notes, "shaky: the source was not reopened")
	}
	if len(notes) == 0 {
		return ""
	}
	return "(" + strings.Join(notes, "; ") + ")"
}

// sourcesText lists where a row comes from and how well it is founded.
func sourcesText(b facts.Backing) []string {
	founded := b.Confidence
	if b.Measured {
		founded += ", measured"
	}
	if b.Shaky() {
		founded += ", shaky"
	}
	says := []string{founded}
	for _, s := range b.Sources {
		says = append(says, s.Title+":", render.Paste(s.Address))
	}
	return says
}
