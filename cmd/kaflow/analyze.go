package main

import "github.com/spf13/cobra"

func (a *app) analyzeCommand(use string) *cobra.Command {
	return &cobra.Command{Use: use, Args: cobra.ArbitraryArgs, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			if mistyped := suggest(c.Root(), args[0]); mistyped != nil {
				return mistyped
			}
		}
		return usageError{"name a command: kaflow --help lists them"}
	}}
}
