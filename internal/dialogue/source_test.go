package dialogue

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kaflow/capture"
	"kaflow/tcp"
)

// drain reads a source to its end: the packets without their place in a batch,
// their payloads, and the sizes of the batches.
func drain(t *testing.T, size int) (pkts []capture.Packet, payloads []string, sizes []int) {
	t.Helper()
	s, err := Parse(`0 C > S ACK seq 1 ack 9 data "hello"
+1ms S > C ACK seq 9 ack 6 len 2
+1ms C > S PING 3`)
	if err != nil {
		t.Fatal(err)
	}
	source, err := s.Source("", size)
	if err != nil {
		t.Fatal(err)
	}
	var b capture.Batch
	for {
		err := source.Read(&b)
		if err == io.EOF {
			return pkts, payloads, sizes
		}
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, b.N)
		for i := range b.N {
			if b.Pkts[i].Proto == capture.TCP {
				payloads = append(payloads, string(b.Payload(i)))
			}
			p := b.Pkts[i]
			p.Data = 0
			pkts = append(pkts, p)
		}
	}
}

func TestChunkingChangesNothing(t *testing.T) {
	single, text, sizes := drain(t, 1)
	if diff := cmp.Diff([]int{1, 1, 1}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"hello", "ab"}, text); diff != "" {
		t.Errorf("payloads (-want +got):\n%s", diff)
	}
	if got := single[0].Seg; got.Seq != 1 || got.Ack != 9 || got.Len != 5 || got.Flags != tcp.ACK || single[0].Ord != 1 || single[2].Proto != capture.Echo {
		t.Errorf("first segment %+v, third packet %+v", got, single[2])
	}
	for _, size := range []int{2, 64, 1000} {
		pkts, texts, _ := drain(t, size)
		if diff := cmp.Diff(single, pkts); diff != "" {
			t.Errorf("in batches of %d (-one +many):\n%s", size, diff)
		}
		if diff := cmp.Diff(text, texts); diff != "" {
			t.Errorf("payloads in batches of %d (-one +many):\n%s", size, diff)
		}
	}
}
