package lab

import (
	"net/netip"
	"slices"
	"time"
)

// Silences are what the captures of both ends show of a path's patience with one
// connection, in seconds.
type Silences struct {
	Survived float64 // the longest that ended with something that crossed; 0 none
	Killed   float64 // that after which nothing crossed any more
}

// Gaps measures the silences of the connection that the client knows by an
// address, between packets that crossed, from what both captures hold. A
// silence counts as survived only where an end ended it whose packets were lost
// after the one that killed: what the other end says may teach a device anew.
// ok is false where none killed.
func Gaps(set *Run, client string) (gaps Silences, ok bool, err error) {
	local, err := netip.ParseAddrPort(client)
	if err != nil {
		return gaps, false, err
	}
	here, err := ReadPcap(set.Captures[AtClient])
	if err != nil {
		return gaps, false, err
	}
	there, err := ReadPcap(set.Captures[AtServer])
	if err != nil {
		return gaps, false, err
	}
	ahead := time.Duration(set.Truth.Clocks[AtServer] * float64(time.Second))
	server := netip.MustParseAddr(set.Truth.Ends[AtServer].Address)
	type sent struct {
		at      time.Time
		from    netip.Addr
		crossed bool
	}
	var all []sent
	add := func(frames []Frame, from netip.Addr, crossed []bool, less time.Duration) {
		for i := range frames {
			f := &frames[i]
			if f.TCP && f.Src.Addr() == from && (f.Src == local || f.Dst == local) && f.Flags&FlagRST == 0 {
				all = append(all, sent{f.At.Add(-less), from, crossed[i]})
			}
		}
	}
	add(here, local.Addr(), crossings(here, there, local.Addr()), 0)
	add(there, server, crossings(there, here, server), ahead)
	slices.SortFunc(all, func(a, b sent) int { return a.at.Compare(b.at) })
	last := -1 // the last that crossed
	for i := range all {
		if all[i].crossed {
			last = i
		}
	}
	if last < 0 || last+1 == len(all) {
		return gaps, false, nil
	}
	lost := map[netip.Addr]bool{}
	for _, x := range all[last+1:] {
		lost[x.from] = true
	}
	gaps.Killed = all[last+1].at.Sub(all[last].at).Seconds()
	before := -1
	for i := range all[:last+1] {
		if !all[i].crossed {
			continue
		}
		if before >= 0 && (lost[all[i].from] || len(lost) == 2) {
			gaps.Survived = max(gaps.Survived, all[i].at.Sub(all[before].at).Seconds())
		}
		before = i
	}
	return gaps, true, nil
}
