package facts

import (
	"strconv"
	"strings"
	"time"
)

// Remedy is what to type so that a connection outlives an idle timeout.
type Remedy struct {
	ID, Platform     string
	Side             string   // Endpoint or Middlebox
	OneOff           []string // until the next start; templates for Fill
	Persistent       []string // for good; templates for Fill
	AppliesTo        string
	NeedsSoKeepalive bool     // does nothing for a socket without SO_KEEPALIVE
	Caveats          []string // templates for Fill
	Verify           string   // how to see that it took effect; "" not known
	Backing
}

// Sides of a Remedy.
const (
	Endpoint  = "endpoint"
	Middlebox = "middlebox"
)

// Values are what Fill puts into the lines of a Remedy. A zero field is not
// known, and its variables stay as they are, in braces.
type Values struct {
	Idle, Interval time.Duration // whole seconds; fractions are dropped
	Count          int
	Abort          time.Duration // give-up time after Idle; 0 for Count × Interval
	TNew           time.Duration // new timeout of the device
	Port           int
}

// Fill returns the lines with the variables of Values in the unit that each
// line wants: {IDLE} in seconds, {IDLE_MS}, {IDLE_HALF} in half-seconds,
// {IDLE_MIN} in whole minutes rounded down, {T_NEW_MIN} rounded up, and so on.
// What rounds to nothing stays in braces: there, 0 would mean "off".
func Fill(lines []string, v Values) []string {
	replace := v.replacer()
	filled := make([]string, len(lines))
	for i, line := range lines {
		filled[i] = replace.Replace(line)
	}
	return filled
}

// Unfilled returns the variables, without braces, that Fill would leave in
// the remedy's lines: the system cannot be set to these values.
func (r *Remedy) Unfilled(v Values) []string {
	text := strings.Join(Fill(append(append([]string{}, r.OneOff...), r.Persistent...), v), "\n")
	var left []string
	for _, name := range variables {
		if strings.Contains(text, "{"+name+"}") {
			left = append(left, name)
		}
	}
	return left
}

// variables are the names that templates may use.
var variables = [...]string{
	"IDLE", "INTVL", "COUNT", "IDLE_MS", "INTVL_MS", "IDLE_HALF", "INTVL_HALF",
	"IDLE_MIN", "ABORT_MS", "T_NEW", "T_NEW_MIN", "PORT",
}

func (v Values) replacer() *strings.Replacer {
	abort := v.Abort
	if abort == 0 {
		abort = time.Duration(v.Count) * v.Interval
	}
	idle, interval := v.Idle.Truncate(time.Second), v.Interval.Truncate(time.Second)
	numbers := [len(variables)]int64{
		int64(idle / time.Second), int64(interval / time.Second), int64(v.Count),
		idle.Milliseconds(), interval.Milliseconds(),
		int64(idle / (time.Second / 2)), int64(interval / (time.Second / 2)),
		int64(idle / time.Minute), abort.Milliseconds(),
		int64(v.TNew / time.Second), int64((v.TNew + time.Minute - 1) / time.Minute), int64(v.Port),
	}
	var pairs []string
	for i, name := range variables {
		if numbers[i] > 0 {
			pairs = append(pairs, "{"+name+"}", strconv.FormatInt(numbers[i], 10))
		}
	}
	return strings.NewReplacer(pairs...)
}
