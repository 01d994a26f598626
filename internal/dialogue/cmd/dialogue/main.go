// Command dialogue writes a conversation as a capture, as one vantage point
// would have recorded it:
//
//	go run ./internal/dialogue/cmd/dialogue talk.txt client > client.pcap
package main

import (
	"bufio"
	"fmt"
	"os"

	"kaflow/internal/dialogue"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dialogue:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("usage: dialogue TEXT [client|server] > CAPTURE")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	script, err := dialogue.Parse(string(text))
	if err != nil {
		return err
	}
	point := ""
	if len(args) == 2 {
		point = args[1]
	}
	out := bufio.NewWriter(os.Stdout)
	if err := script.WritePcap(out, point); err != nil {
		return err
	}
	return out.Flush()
}
