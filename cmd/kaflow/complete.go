package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// completions tells shells the words that flags take.
func completions(root *cobra.Command) {
	words := func(list ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"format":   words("text", "md", "jira", "html", "json", "ndjson", "tsv"),
		"color":    words("auto", "always", "never"),
		"sanitize": words(sanitizeAddresses, sanitizeRoles, sanitizeKeyed),
		"fail-on":  listed(verdicts),
	} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // a flag that is not there
		}
	}
}

// listed completes the last word of a list with commas.
func listed(words []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var all []string
		for _, w := range words {
			all = append(all, before+w)
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}
