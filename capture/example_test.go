package capture_test

import (
	"fmt"
	"os"

	"kaflow/capture"
)

// A vantage point is read in batches; what is known of its files comes with it.
func ExampleOpen() {
	points, hints, err := capture.Resolve([]string{"client=testdata/micro.pcap.gz"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, hint := range hints {
		fmt.Println("hint:", hint)
	}
	set, err := capture.Open(capture.Options{Stdin: os.Stdin}, points[0].Name, points[0].Paths...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	var batch capture.Batch
	for set.Read(&batch) == nil {
		for i := range batch.N {
			p := &batch.Pkts[i]
			_, frame := set.Frame(p.Ord)
			fmt.Printf("frame %d at %s: %d octets\n", frame, p.At.Time().Format("15:04:05.000000"), len(batch.Payload(i)))
		}
	}
	for _, f := range set.Files() {
		fmt.Println(f.Format, f.Frames, f.Complete)
	}
	// Output:
	// frame 1 at 22:13:20.000000: 1 octets
	// frame 2 at 22:13:20.001000: 2 octets
	// frame 3 at 22:13:20.002000: 3 octets
	// pcap, gzip 3 true
}
