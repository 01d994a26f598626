package main

import (
	"time"

	"kaflow/facts"
	"kaflow/render"
)

// heading begins every answer that is no report.
type heading struct {
	Schema string `json:"schema"`
	Type   string `json:"type"`
	Tool   string `json:"tool"`
}

func headingOf(what string) heading { return heading{render.SchemaName, what, version()} }

type policyAnswer struct {
	heading
	Policies []policyJSON `json:"policies"`
}

type policyJSON struct {
	ID         string        `json:"id,omitempty"`
	System     string        `json:"system,omitempty"`
	Mechanism  string        `json:"mechanism"`
	Unit       float64       `json:"unit_s"`
	Idle       *float64      `json:"idle_s"`
	Interval   *float64      `json:"interval_s"`
	Count      *int          `json:"count"`
	Abort      *float64      `json:"abort_s"`
	Detection  *float64      `json:"detection_s"`
	Arithmetic string        `json:"arithmetic"`
	Latest     *float64      `json:"latest_detection_s"`
	OutageSure *float64      `json:"outage_always_survived_s"`
	OutageBest *float64      `json:"outage_never_survived_s"`
	Readings   []readingJSON `json:"readings"`
	Limits     []limitJSON   `json:"limits,omitempty"`
	SetOn      string        `json:"set_on,omitempty"`
	Lines      []remedyJSON  `json:"remedies,omitempty"`
	*backingJSON
}

type readingJSON struct {
	Claim      string     `json:"claim"`
	Arithmetic []string   `json:"arithmetic"`
	Taken      bool       `json:"taken"`
	Source     sourceJSON `json:"source"`
}

type limitJSON struct {
	ID      string  `json:"id"`
	Device  string  `json:"device"`
	Seconds float64 `json:"seconds"`
	Outcome string  `json:"outcome"`
	Shaky   bool    `json:"shaky"`
}

type remedyJSON struct {
	ID               string   `json:"id"`
	System           string   `json:"system"`
	Side             string   `json:"side"`
	OneOff           []string `json:"one_off"`
	Persistent       []string `json:"persistent"`
	AppliesTo        string   `json:"applies_to"`
	NeedsSoKeepalive bool     `json:"needs_so_keepalive"`
	Caveats          []string `json:"caveats"`
	Verify           string   `json:"verify"`
	Unfilled         []string `json:"unfilled,omitempty"`
	backingJSON
}

type backingJSON struct {
	Confidence string       `json:"confidence"`
	Checked    bool         `json:"checked"`
	Measured   bool         `json:"measured"`
	Shaky      bool         `json:"shaky"`
	Sources    []sourceJSON `json:"sources"`
}

type sourceJSON struct {
	Title   string `json:"title"`
	Address string `json:"address"`
}

func policiesJSON(policies []computed) []policyJSON {
	out := []policyJSON{}
	for i := range policies {
		out = append(out, policies[i].json())
	}
	return out
}

func (p *computed) json() policyJSON {
	j := policyJSON{
		Mechanism: "tcp-keepalive", Unit: p.step.Seconds(), Arithmetic: p.detection(),
		Idle: known(p.plan.Idle), Interval: known(p.plan.Interval), Abort: known(p.plan.Abort), Latest: known(p.latest()),
		Readings: []readingJSON{}, Limits: []limitJSON{}, Lines: []remedyJSON{},
	}
	if p.payload {
		j.Mechanism = "heartbeat"
	}
	if p.plan.Count > 0 {
		j.Count = &p.plan.Count
	}
	if _, total, ok := p.sum.Of(p.plan, p.step); ok {
		j.Detection = known(total)
	} else if p.system != nil && p.asked == (facts.Plan{}) {
		j.Detection = known(p.system.Detection)
	}
	if p.outages() != "" {
		sure, best := p.plan.Outages()
		j.OutageSure, j.OutageBest = known(sure), known(best)
	}
	if p.system != nil {
		b := backingOf(p.system.Backing)
		j.ID, j.System, j.SetOn, j.backingJSON = p.system.ID, p.system.Name, p.system.SetOn, &b
		for _, r := range p.system.Readings {
			sums := append([]string{}, r.Write(p.asked, p.plan, p.step)...)
			j.Readings = append(j.Readings, readingJSON{r.Claim, sums, r.Taken, sourceJSON(r.Source)})
		}
	}
	for _, t := range facts.PathLimits() {
		j.Limits = append(j.Limits, limitJSON{t.ID, t.Label(), t.Idle.Seconds(), p.on(&t).String(), t.Shaky()})
	}
	for _, r := range p.remedies() {
		j.Lines = append(j.Lines, remedyOf(&r, p.values()))
	}
	return j
}

// known is a duration in seconds, null where it is not known.
func known(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	s := d.Seconds()
	return &s
}

func remedyOf(r *facts.Remedy, v facts.Values) remedyJSON {
	return remedyJSON{
		ID: r.ID, System: r.Platform, Side: r.Side, AppliesTo: r.AppliesTo, NeedsSoKeepalive: r.NeedsSoKeepalive,
		OneOff: facts.Fill(r.OneOff, v), Persistent: facts.Fill(r.Persistent, v), Caveats: facts.Fill(r.Caveats, v),
		Verify: r.Verify, Unfilled: r.Unfilled(v), backingJSON: backingOf(r.Backing),
	}
}

func backingOf(b facts.Backing) backingJSON {
	j := backingJSON{Confidence: b.Confidence, Checked: b.Checked, Measured: b.Measured, Shaky: b.Shaky(), Sources: []sourceJSON{}}
	for _, s := range b.Sources {
		j.Sources = append(j.Sources, sourceJSON(s))
	}
	return j
}
