package lab

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// segmentSum adds up a TCP segment and its pseudo header; 0xffff where the checksum
// is right. ok is false where the frame was cut.
func segmentSum(f *Frame) (sum uint32, ok bool) {
	tcp := f.Data[f.tcpAt:]
	head := int(tcp[12]>>4) * 4
	if len(tcp) < head+f.Len {
		return 0, false
	}
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	src, dst := f.Src.Addr().AsSlice(), f.Dst.Addr().AsSlice()
	add(src)
	add(dst)
	add(tcp[:head+f.Len])
	sum += 6 + uint32(head+f.Len)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum, true
}

func TestAlteredFramesHaveRightChecksums(t *testing.T) {
	run, err := ReadRun("../../testdata/pcaps/ssh-silent-drop")
	if err != nil {
		t.Fatal(err)
	}
	frames, err := ReadPcap(run.Captures[AtClient])
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr(run.Truth.Ends[AtClient].Address)
	for _, tc := range []struct {
		name string
		do   func([]Frame) []Frame
	}{
		{"as captured", func(f []Frame) []Frame { return f }},
		{"translated", func(f []Frame) []Frame { return Translated(f, client, netip.MustParseAddr("198.51.100.7"), 11111) }},
		{"renumbered", func(f []Frame) []Frame { return Renumbered(f, client, 0x9e3779b9, 0x7f4a7c15) }},
		{"without timestamps", Unstamped},
		{"clamped", func(f []Frame) []Frame { return Clamped(f, 1360) }},
		{"IPv6", Sixed},
		{"IPv6, without timestamps and renumbered", func(f []Frame) []Frame { return Sixed(Renumbered(Unstamped(f), client, 77, 1<<31)) }},
	} {
		whole := 0
		for i, f := range tc.do(frames) {
			if !f.TCP {
				continue
			}
			if sum, ok := segmentSum(&f); ok {
				if whole++; sum != 0xffff {
					t.Errorf("%s: frame %d has a wrong checksum: it adds up to %#x", tc.name, i+1, sum)
				}
			}
		}
		if whole < 30 {
			t.Errorf("%s: %d whole TCP frames", tc.name, whole)
		}
	}
}

func TestAlterationsDoWhatTheySay(t *testing.T) {
	run, err := ReadRun("../../testdata/pcaps/ssh-silent-drop")
	if err != nil {
		t.Fatal(err)
	}
	frames, err := ReadPcap(run.Captures[AtServer])
	if err != nil {
		t.Fatal(err)
	}
	stamped, six, late := 0, 0, Since(frames, frames[10].At)
	for _, f := range Unstamped(frames) {
		if f.TCP && f.HasTS {
			stamped++
		}
	}
	for _, f := range Sixed(frames) {
		if f.TCP && f.Src.Addr().Is6() && wellKnown.Contains(f.Src.Addr()) {
			six++
		}
	}
	if stamped > 0 || six < 30 || len(late) != len(frames)-10 || late[0].At.Before(frames[10].At) {
		t.Errorf("%d frames keep timestamps, %d are IPv6, %d of %d are left from the eleventh on", stamped, six, len(late), len(frames))
	}
	if moved := Reclocked(frames, time.Hour, 0, time.Time{}, 0); moved[5].At.Sub(frames[5].At) != time.Hour {
		t.Error("the clock is not an hour ahead")
	}
}
