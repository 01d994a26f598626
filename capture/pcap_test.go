package capture

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPcapOddities(t *testing.T) {
	data := segment(40000, "abc")
	n := uint32(len(data))
	whole := []seen{{At: base + 5000, Payload: "abc"}}
	tests := []struct {
		name   string
		file   *pcapFile
		record func(*pcapFile)
		format string
		want   []seen
	}{
		{"microseconds, little-endian", &pcapFile{}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data) }, "pcap", whole},
		{"microseconds, big-endian", &pcapFile{order: binary.BigEndian}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data) }, "pcap", whole},
		{"nanoseconds", &pcapFile{magic: pcapNanos}, func(p *pcapFile) { p.record(1_700_000_000, 5000, n, n, data) }, "pcap-ns", whole},
		{"nanoseconds, big-endian", &pcapFile{order: binary.BigEndian, magic: pcapNanos}, func(p *pcapFile) { p.record(1_700_000_000, 5000, n, n, data) }, "pcap-ns", whole},
		{"modified, longer record headers", &pcapFile{magic: pcapModified, extra: 8}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data) }, "pcap-modified", whole},
		{"version 2.2, original length first", &pcapFile{major: 2, minor: 2}, func(p *pcapFile) { p.record(1_700_000_000, 5, n+100, n, data) }, "pcap",
			[]seen{{At: base + 5000, Payload: "abc", Note: NoteCut}}},
		{"version 2.3, lengths swapped", &pcapFile{major: 2, minor: 3}, func(p *pcapFile) { p.record(1_700_000_000, 5, n+100, n, data) }, "pcap",
			[]seen{{At: base + 5000, Payload: "abc", Note: NoteCut}}},
		{"version 2.3, lengths in order", &pcapFile{major: 2, minor: 3}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n+100, data) }, "pcap",
			[]seen{{At: base + 5000, Payload: "abc", Note: NoteCut}}},
		{"DG/UX, version 543.0", &pcapFile{major: 543}, func(p *pcapFile) { p.record(1_700_000_000, 5, n+100, n, data) }, "pcap",
			[]seen{{At: base + 5000, Payload: "abc", Note: NoteCut}}},
		{"snap length in the header is a lie", &pcapFile{snap: 10}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data) }, "pcap", whole},
		{"a second and a half of microseconds", &pcapFile{}, func(p *pcapFile) { p.record(1_699_999_999, 1_000_005, n, n, data) }, "pcap", whole},
		{"most microseconds that fit", &pcapFile{}, func(p *pcapFile) { p.record(1<<32-1, 1<<32-1, n, n, data) }, "pcap",
			[]seen{{At: (1<<32-1)*1_000_000_000 + (1<<32-1)*1000, Payload: "abc"}}},
		{"captured more than there was", &pcapFile{}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n-1, data) }, "pcap",
			[]seen{{At: base + 5000, Payload: "abc", Note: NoteTooLong}}},
		{"check sequence of four octets behind each frame", &pcapFile{link: fcsPresent | 2<<28 | linkRaw},
			func(p *pcapFile) { p.record(1_700_000_000, 5, n+4, n+4, append(data[:n:n], "FCS!"...)) }, "pcap", whole},
		{"reserved bits beside the link type", &pcapFile{link: 3<<16 | linkRaw}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data) }, "pcap", whole},
		{"time not known", &pcapFile{}, func(p *pcapFile) { p.record(1_700_000_000, 5, n, n, data).record(0, 0, n, n, data) }, "pcap",
			append(whole[:1:1], seen{Payload: "abc"})},
		{"clock steps back", &pcapFile{}, func(p *pcapFile) {
			p.record(1_700_000_000, 5, n, n, data).record(1_700_000_000, 4, n, n, data).record(1_700_000_000, 5, n, n, data)
		}, "pcap", []seen{{At: base + 5000, Payload: "abc"}, {At: base + 4000, Payload: "abc", Note: NoteClockStep}, {At: base + 5000, Payload: "abc"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.file.link == 0 {
				test.file.link = linkRaw
			}
			test.record(test.file.begin())
			got := readBytes(t, test.file.out)
			if diff := cmp.Diff(test.want, got.Seen); diff != "" {
				t.Errorf("frames, want −, got +:\n%s", diff)
			}
			if !got.File.Complete || got.File.Format != test.format || got.File.Problems != nil {
				t.Errorf("complete %v, format %s, problems %v; want a whole %s", got.File.Complete, got.File.Format, got.File.Problems, test.format)
			}
		})
	}
}

func TestPcapDamage(t *testing.T) {
	data := segment(40000, "abc")
	n := uint32(len(data))
	good := (&pcapFile{link: linkRaw}).begin().record(1_700_000_000, 0, n, n, data)
	end := int64(len(good.out))
	tests := []struct {
		name string
		add  func(*pcapFile)
		want Problem
	}{
		{"record larger than any", func(p *pcapFile) { p.record(0, 0, maxRecord+1, maxRecord+1, nil) },
			Problem{Frame: 2, Offset: end, What: "packet record claims 262145 octets, more than 262144", Fatal: true}},
		{"record header cut", func(p *pcapFile) { p.out = append(p.out, 1, 2, 3, 4, 5, 6) },
			Problem{Frame: 2, Offset: end, What: "cut short: packet record needs 16 octets, 6 left", Fatal: true}},
		{"record cut", func(p *pcapFile) { p.record(0, 0, 10, 10, []byte("abc")) },
			Problem{Frame: 2, Offset: end, What: "cut short: packet record needs 26 octets, 19 left", Fatal: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := *good
			file.out = append([]byte(nil), good.out...)
			test.add(&file)
			got := readBytes(t, file.out)
			if diff := cmp.Diff([]Problem{test.want}, got.File.Problems); diff != "" || got.File.Complete {
				t.Errorf("complete %v, problems, want −, got +:\n%s", got.File.Complete, diff)
			}
			if diff := cmp.Diff([]seen{{At: base, Payload: "abc"}}, got.Seen); diff != "" {
				t.Errorf("frames before the damage, want −, got +:\n%s", diff)
			}
		})
	}
}

func TestEmptyRecordsWithoutEndAreDamage(t *testing.T) {
	p := (&pcapFile{link: linkRaw}).begin()
	for range maxEmpty + 10 {
		p.record(1, 0, 0, 0, nil)
	}
	s := openBytes(t, p.out)
	f := drain(t, s)
	want := []Problem{{Frame: maxEmpty + 1, Offset: 24 + 16*maxEmpty, What: errEmpty.Error(), Fatal: true}}
	if diff := cmp.Diff(want, f.Problems); diff != "" || f.Frames != maxEmpty {
		t.Errorf("%d frames, want %d; problems, want −, got +:\n%s", f.Frames, maxEmpty, diff)
	}
}

func TestSnoop(t *testing.T) {
	got := readBytes(t, snoopFile(4))
	want := reading{
		Seen: []seen{{At: base, Payload: "a"}, {At: base + ms, Payload: "b"}, {At: base + 2*ms, Payload: "c"}},
		File: File{
			Path: "-", Format: "snoop", LinkTypes: []string{"ETHERNET(1)"}, Frames: 3, TCPFrames: 3, First: base, Last: base + 2*ms,
			Complete: true, Drops: 2, DropsKnown: true, Interfaces: []Interface{{LinkType: 1}},
		},
		Holes: []Interval{{base + ms, base + 2*ms, WhyDropped}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want −, got +:\n%s", diff)
	}
	foreign := readBytes(t, snoopFile(6))
	if diff := cmp.Diff(map[string]uint64{"snoop link type 6 is not supported": 3}, foreign.File.Undecoded); diff != "" {
		t.Errorf("link type of another kind, want −, got +:\n%s", diff)
	}
	if fddi := snoopLink(8); fddi != linkFDDI {
		t.Errorf("snoopLink(8) = %d, want FDDI", fddi)
	}
}

func TestWriterRoundTrip(t *testing.T) {
	got := readBytes(t, writePcap(t, 40000, base, base+1, base+123_456_789))
	want := []seen{{At: base, Payload: "x"}, {At: base + 1, Payload: "x"}, {At: base + 123_456_789, Payload: "x"}}
	if diff := cmp.Diff(want, got.Seen); diff != "" {
		t.Errorf("want −, got +:\n%s", diff)
	}
}
