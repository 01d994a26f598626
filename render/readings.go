package render

import (
	"slices"

	"kaflow/analyzer"
)

// readings lists the hypotheses with what speaks for and against each. A
// measurement that would decide between several of them stands once, at the
// end.
func (p *page) readings(r *analyzer.Report, d *analyzer.Diagnosis) []string {
	var says []string
	uses := map[string]int{}
	for i := range d.Hypotheses {
		uses[d.Hypotheses[i].Next]++
	}
	var shared []string
	var commands [][]string
	for i := range d.Hypotheses {
		h := &d.Hypotheses[i]
		says = append(says, spaced(h.Verdict))
		for _, f := range h.For {
			says = append(says, hanging+"for: "+reasonText(r, &f))
		}
		for _, a := range h.Against {
			says = append(says, hanging+"against: "+reasonText(r, &a))
		}
		switch {
		case h.Next == "" || slices.Contains(shared, h.Next):
		case uses[h.Next] > 1:
			shared = append(shared, h.Next)
			commands = append(commands, pasted(h.Run))
		default:
			says = append(says, hanging+"to decide it: "+h.Next)
			says = append(says, pasted(h.Run)...)
		}
	}
	for i, next := range shared {
		says = append(says, "to decide: "+next)
		says = append(says, commands[i]...)
	}
	return says
}

// reasonText is a reason with the frames that show it.
func reasonText(r *analyzer.Report, x *analyzer.Reason) string {
	if at := evidence(r, x.Evidence); at != "" {
		return x.Says + " (" + at + ")"
	}
	return x.Says
}

// pasted marks lines that are to be pasted.
func pasted(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = Paste(line)
	}
	return out
}
