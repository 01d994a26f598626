package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kaflow/facts"
	"kaflow/render"
)

func (a *app) policyCommand() *cobra.Command {
	var s settings
	var expected string
	c := &cobra.Command{
		Use:   "policy [SYSTEM | --expect idle=T,interval=T,count=N CAPTURE...]",
		Short: "when a keepalive policy notices a death, which path limits it outlives, the lines to set it",
		Long: `Compute a keepalive policy: a system's default, a system told other values, or plain
numbers. Values are in the units of the system (FreeBSD, macOS, Windows and Solaris
count milliseconds), else in seconds; 90s, 5m and 2h can be written everywhere.

  kaflow policy linux
  kaflow policy freebsd --idle 10000 --interval 5000 --count 8
  kaflow policy openssh --interval 15 --count 3
  kaflow policy --idle 60 --interval 10 --count 3

--expect verifies a setting in captures, per end: pass, fail (exit status 1), or not seen.
Capture on the host whose keepalive is checked and break the path beyond it: unplug the
far end or drop in between. With its own cable out a host's probes never reach its capture.

  kaflow policy --expect idle=60,interval=10,count=3 host.pcap
  kaflow policy --expect client:idle=60,interval=10 client.pcap server.pcap
  kaflow policy --expect ServerAliveInterval=15,ServerAliveCountMax=3 client.pcap`,
		ValidArgsFunction: completing(systemIDs),
		RunE: func(c *cobra.Command, args []string) error {
			if expected != "" {
				return a.expect(c, args, expected, s)
			}
			return a.policy(c, args, s)
		},
	}
	c.Flags().StringVar(&s.idle, "idle", "", "silence before the first probe")
	c.Flags().StringVar(&s.interval, "interval", "", "spacing of unanswered probes; of ssh ServerAliveInterval")
	c.Flags().Var(number{&s.count, 1, maxProbes, fmt.Sprintf("want 1 to %d", maxProbes)}, "count", "unanswered probes before giving up")
	c.Flags().StringVar(&expected, "expect", "", "verify [client:|server:]idle=T,interval=T,count=N, or ssh's ServerAliveInterval=T,ServerAliveCountMax=N, in captures")
	return c
}

// settings are a policy as the user writes it.
type settings struct {
	idle, interval string
	count          int
}

// given reports whether there is any.
func (s settings) given() bool { return s.idle != "" || s.interval != "" || s.count != 0 }

// plan reads the settings in steps of a system.
func (s settings) plan(step time.Duration) (p facts.Plan, err error) {
	if p.Idle, err = parseSetting("--idle", s.idle, step); err != nil {
		return p, err
	}
	if p.Interval, err = parseSetting("--interval", s.interval, step); err != nil {
		return p, err
	}
	p.Count = s.count
	return p, nil
}

// Limits of what can be asked for: a count no system takes, a silence of a
// year, and a century of probes. A count of 0 has no arithmetic: to sshd it means
// that it never gives up, to Windows 2000 that it never probes.
const (
	maxProbes    = 10_000
	maxSetting   = 366 * 24 * time.Hour
	longestTrain = 100 * maxSetting
)

// parseSetting reads a number of steps, or a duration with its unit.
func parseSetting(name, text string, step time.Duration) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if n, plain := strconv.ParseFloat(text, 64); plain == nil {
		d, err = 0, nil
		if n > 0 && n*float64(step) <= float64(maxSetting) {
			d = time.Duration(math.Round(n * float64(step)))
		}
	}
	if err != nil || d <= 0 || d > maxSetting {
		return 0, usageError{fmt.Sprintf("%s %s: want a number, or a duration such as 90s or 2h", name, text)}
	}
	return d, nil
}

// computed is a policy with the system that it belongs to.
type computed struct {
	system  *facts.Default // nil for plain numbers
	plan    facts.Plan
	asked   facts.Plan
	sum     facts.Sum
	step    time.Duration
	payload bool // the probes are data
}

func (a *app) policy(c *cobra.Command, args []string, s settings) error {
	if err := refuse(c, reportFlags...); err != nil {
		return err
	}
	format, err := a.flags.formatOf("text", "json")
	if err != nil {
		return err
	}
	policies, err := a.compute(args, s)
	if err != nil {
		return err
	}
	for _, p := range policies {
		if float64(p.plan.Count)*p.plan.Interval.Seconds() > longestTrain.Seconds() {
			return usageError{fmt.Sprintf("%d probes %s apart take longer than %d years", p.plan.Count, facts.Human(p.plan.Interval), longestTrain/maxSetting)}
		}
	}
	return a.print(format, func(w io.Writer, o render.Options) error {
		if format == "json" {
			return encode(w, policyAnswer{heading: headingOf("policy"), Policies: policiesJSON(policies)}, o)
		}
		return render.Sections(w, policySections(policies), o)
	})
}

// compute returns the policies that are asked for.
func (a *app) compute(args []string, s settings) ([]computed, error) {
	switch {
	case len(args) > 1:
		return nil, usageError{fmt.Sprintf("policy takes one system, found %q too", args[1])}
	case len(args) == 0 && !s.given():
		return nil, usageError{"policy of what? name a system, or give --idle, --interval and --count"}
	case len(args) == 0:
		p, err := s.plan(time.Second)
		if err == nil && (p.Idle == 0 || p.Interval == 0 || p.Count == 0) {
			err = usageError{"without a system --idle, --interval and --count are all needed"}
		}
		return []computed{{plan: p, asked: p, step: time.Second}}, err
	}
	systems, err := systemsCalled(args[0])
	if err != nil {
		return nil, err
	}
	var out []computed
	for i := range systems {
		p, err := computeFor(&systems[i], s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	a.warnOfUnits(out)
	return out, nil
}

// mostSystems is how many systems one word may mean before it means none.
const mostSystems = 5

// systemsCalled returns the rows that a user means by word.
func systemsCalled(word string) ([]facts.Default, error) {
	found := facts.FindDefaults(word)
	var ids []string
	for i := range found {
		ids = append(ids, found[i].ID)
	}
	switch {
	case len(found) > mostSystems:
		return nil, usageError{fmt.Sprintf("%s: %d systems are called like that; name one of %s", word, len(found), strings.Join(ids, ", "))}
	case len(found) > 0:
		return found, nil
	}
	for _, d := range facts.Defaults() {
		first, _, _ := strings.Cut(d.ID, "-")
		ids = append(ids, first, d.ID)
	}
	return nil, usageError{fmt.Sprintf("%s: no such system%s", word, didYouMean(word, ids, "kaflow facts defaults lists them"))}
}

// systemIDs lists the systems that a policy can be asked of.
func systemIDs() []string {
	var ids []string
	for _, d := range facts.Defaults() {
		ids = append(ids, d.ID)
	}
	return ids
}

// completing offers words for the first argument of a command; after it, and
// where a flag says that captures follow, files.
func completing(words func() []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 || c.Flags().Changed("expect") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		others := func(w string) bool { return !strings.HasPrefix(w, begun) }
		return slices.DeleteFunc(words(), others), cobra.ShellCompDirectiveNoFileComp
	}
}

// computeFor puts the user's values in place of a system's defaults.
func computeFor(d *facts.Default, s settings) (computed, error) {
	asked, err := s.plan(d.Step())
	if err != nil {
		return computed{}, err
	}
	c := computed{system: d, asked: asked, sum: d.Sum, step: d.Step(), payload: d.Payload}
	switch {
	case d.SingleTimer != "" && asked.Idle > 0:
		return c, usageError{fmt.Sprintf("%s has one timer, %s: give --interval", d.ID, d.SingleTimer)}
	case d.Sum == facts.IdleAndAbort && (asked.Interval > 0 || asked.Count > 0):
		return c, usageError{fmt.Sprintf("%s spaces its probes by the retransmission timer and counts none: give --idle alone (it is called keepalive interval there)", d.ID)}
	case d.SingleTimer != "" && s.given():
		c.payload = true
		c.plan = asked.Or(facts.Plan{Interval: exampleOf(d).Interval, Count: exampleOf(d).Count})
	case d.SingleTimer != "":
		c.plan, c.sum = d.Plan(), facts.IdleAndProbes
	default:
		c.plan = asked.Or(d.Plan())
	}
	if d.Payload && d.Sum == facts.Probes {
		c.plan.Idle = 0 // its timeout; what is sent is sent every interval
	}
	return c, nil
}

// paced reports whether it is known how often the path sees a packet.
func (p *computed) paced() bool {
	switch {
	case p.system != nil && p.system.Unpaced && p.asked.Idle == 0:
		return false
	case p.plan.Idle > 0:
		return true
	}
	return p.payload && p.plan.Interval > 0
}

// on says what becomes of an idle connection behind a device.
func (p *computed) on(t *facts.Timeout) facts.Outcome {
	if !p.paced() {
		return facts.NotTold
	}
	return p.plan.On(t, p.payload)
}

// exampleOf returns the numbers of the reading that a row follows.
func exampleOf(d *facts.Default) facts.Plan {
	for _, r := range d.Readings {
		if r.Taken {
			return r.Plan
		}
	}
	return facts.Plan{}
}

// warnOfUnits hints at values that were probably meant in seconds.
func (a *app) warnOfUnits(policies []computed) {
	for _, p := range policies {
		if p.step < time.Second && p.asked.Idle > 0 && p.asked.Idle < time.Second {
			a.hint("%s counts in units of %s: write 60s for seconds", p.system.Name, p.step)
			return
		}
	}
}

// detection writes out how the detection time comes about, "" where no number
// follows.
func (p *computed) detection() string {
	if text := p.sum.Write(p.plan, p.step); text != "" {
		return text
	}
	if p.system == nil {
		return ""
	}
	return p.system.Formula
}

// onceSet is the detection time with the lines to set, of a system whose own timer
// is off by default; else "".
func (p *computed) onceSet() string {
	if !p.timerOff() {
		return ""
	}
	return "with the lines to set it: " + p.system.Sum.Write(exampleOf(p.system), p.step)
}

// timerOff reports whether the policy is TCP's alone, the system's own timer being
// off by default.
func (p *computed) timerOff() bool {
	return p.system != nil && p.system.SingleTimer != "" && !p.payload
}

// latest is the detection time as it can show on the wire on Linux, 0 where
// the system is none.
func (p *computed) latest() time.Duration {
	onLinux := p.system == nil || p.system.TimerWheel
	if _, _, ok := facts.IdleAndProbes.Of(p.plan, p.step); !ok || !onLinux {
		return 0
	}
	return facts.LatestDetection(p.plan.Idle, p.plan.Interval, p.plan.Count)
}

// values are what goes into the lines to type.
func (p *computed) values() facts.Values {
	plan := p.plan
	if p.timerOff() {
		plan = exampleOf(p.system)
	}
	v := facts.Values{Idle: plan.Idle, Interval: plan.Interval, Count: plan.Count, Abort: plan.Abort}
	if v.Idle == 0 && (p.payload && p.paced() || p.system != nil && p.system.SingleTimer != "") {
		v.Idle = v.Interval
	}
	return v
}

// remedies returns the rows that set the policy on its system, or on the
// usual ones.
func (p *computed) remedies() []facts.Remedy {
	ids := []string{"linux-sysctl", "windows-registry", "macos", "freebsd", "ssh-client", "ssh-server"}
	if p.system != nil {
		ids = p.system.Remedies
	}
	var out []facts.Remedy
	for _, id := range ids {
		if r, ok := facts.RemedyByID(id); ok {
			out = append(out, r)
		}
	}
	return out
}

// encode writes one JSON document.
func encode(w io.Writer, v any, o render.Options) error {
	e := json.NewEncoder(render.JSONWriter(w, o))
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// print opens the output that is asked for and closes it when write is done.
func (a *app) print(format string, write func(io.Writer, render.Options) error) error {
	o, err := a.rendering()
	if err != nil {
		return err
	}
	out, err := a.publicOutput()
	if err != nil {
		return err
	}
	defer out.discard()
	if err := write(out, o); err != nil {
		return outputError{err}
	}
	return out.finish()
}

// didYouMean names the known word nearest to a mistyped one, else says what
// otherwise may help.
func didYouMean(word string, known []string, otherwise string) string {
	word = strings.ToLower(word)
	best, distance := "", nearby+1
	for _, k := range known {
		if d := editDistance(word, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" || distance >= len(best) {
		return "; " + otherwise
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// reportFlags are the common flags that have no meaning without a capture.
var reportFlags = []string{"read", "host", "port", "flow", "from", "until", "utc", "tz", "all", "fail-on", "max-flows", "max-input", "clock-offset", "covers", "what-if"}

// outcomes of a policy on path limits, in the order in which they are told.
var outcomes = []struct {
	is   facts.Outcome
	says string
}{
	{facts.Outlives, "outlived, also with one probe lost"},
	{facts.OutlivesBare, "outlived while no probe is lost"},
	{facts.MayDie, "perhaps: a timer that fires late misses them"},
	{facts.Dies, "not outlived, the probe comes too late"},
	{facts.NeedsPayload, "count data alone, no TCP keepalive helps"},
	{facts.NotTold, "not known whether probes count there"},
}

// meets sorts the known path limits by what becomes of a connection.
func (p *computed) meets() map[facts.Outcome][]facts.Timeout {
	by := map[facts.Outcome][]facts.Timeout{}
	for _, t := range facts.PathLimits() {
		o := p.on(&t)
		by[o] = append(by[o], t)
	}
	return by
}

// spreadText lists rows that stand for all, and counts the rest.
func spreadText(rows []facts.Timeout) string {
	const few = 8
	var names []string
	for _, i := range facts.Spread(rows, few) {
		names = append(names, fmt.Sprintf("%s %d s", rows[i].Label(), rows[i].Idle/time.Second))
	}
	text := strings.Join(names, ", ")
	if more := len(rows) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// policySections lays policies out. Topics that say the same as those of the
// policy before are not repeated.
func policySections(policies []computed) []render.Section {
	var out []render.Section
	before := map[string]string{}
	for i := range policies {
		s := policies[i].section()
		s.Topics = slices.DeleteFunc(s.Topics, func(t render.Topic) bool {
			says := strings.Join(t.Says, "\n")
			again := before[t.Name] == says
			before[t.Name] = says
			return again
		})
		out = append(out, s)
	}
	return out
}

func (p *computed) section() render.Section {
	s := render.Section{Head: "keepalive policy as asked"}
	if p.system != nil {
		s.Head, s.Right = p.system.Name, "default"
		if p.asked != (facts.Plan{}) {
			s.Right = "as asked"
		}
		if p.system.Shaky() {
			s.Right += ", shaky: source not reopened"
		}
	}
	add := func(name string, says ...string) {
		if says = slices.DeleteFunc(says, func(t string) bool { return t == "" }); len(says) > 0 {
			s.Topics = append(s.Topics, render.Topic{Name: name, Says: says})
		}
	}
	add("policy", p.words())
	add("notices a death after", p.detection(), p.lateness(), p.onceSet())
	add("where sources differ", p.readings()...)
	add("outages it sits out", p.outages())
	add("known path limits", p.limits()...)
	if p.system != nil {
		add("set it on", p.system.SetOn)
	}
	add("lines to set it", p.lines()...)
	if p.system != nil {
		add("remember", p.system.Notes)
		add("sources", sourcesText(p.system.Backing)...)
	}
	return s
}
