package main

import (
	"github.com/spf13/cobra"

	"kaflow/render"
)

func (a *app) flowsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "flows CAPTURE...",
		Short: "one line per flow: ends, duration, longest gap, probes, ending, verdict",
		RunE: func(c *cobra.Command, args []string) error {
			return a.analyze(c, args, []format{{name: "text", write: render.Flows}, {name: "json", write: render.JSON}})
		},
	}
}
