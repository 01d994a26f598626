package analyzer

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"

	"kaflow/flows"
	"kaflow/pairing"
)

// Roles names the hosts of a report by what they do in it: client, server,
// with a number where there are several, nat for what a translator made of
// them. Hosts that no listed flow has stay without a name.
func Roles(r *Report) map[netip.Addr]string {
	seats := roleSeats{names: map[netip.Addr]string{}}
	for i := range r.Flows {
		d := &r.Flows[i]
		seats.take("client", d.Client)
		seats.take("server", d.Server)
	}
	for i := range r.Flows {
		if r.Flows[i].Pair == nil {
			continue
		}
		for _, s := range r.Flows[i].Pair.Seen {
			seats.take("nat", s.Flow.Sides[flows.Client].Addr.String())
			seats.take("nat", s.Flow.Sides[flows.Server].Addr.String())
		}
	}
	return seats.finished()
}

// roleSeats gives out numbered names in the order in which hosts come.
type roleSeats struct {
	names map[netip.Addr]string
	order []netip.Addr
	roles []string
}

func (s *roleSeats) take(role, host string) {
	a, err := netip.ParseAddrPort(host)
	if err != nil || s.names[a.Addr().Unmap()] != "" {
		return
	}
	s.names[a.Addr().Unmap()] = role
	s.order, s.roles = append(s.order, a.Addr().Unmap()), append(s.roles, role)
}

func (s *roleSeats) finished() map[netip.Addr]string {
	count, given := map[string]int{}, map[string]int{}
	for _, role := range s.roles {
		count[role]++
	}
	for i, a := range s.order {
		role := s.roles[i]
		given[role]++
		if count[role] > 1 || role == "nat" {
			s.names[a] = fmt.Sprintf("%s%d", role, given[role])
		}
	}
	return s.names
}

// Rename replaces, in every text of the report but display filters, addresses
// by names. What Pair points to stays.
func (r *Report) Rename(names map[netip.Addr]string) {
	r.Names = names
	rename(reflect.ValueOf(r).Elem(), names)
}

var untouched = map[reflect.Type]bool{
	reflect.TypeFor[*pairing.Pair](): true, reflect.TypeFor[Filter](): true,
}

func rename(v reflect.Value, names map[netip.Addr]string) {
	if untouched[v.Type()] {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(RenameIn(v.String(), names))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				rename(v.Field(i), names)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			rename(v.Index(i), names)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			rename(v.Elem(), names)
		}
	}
}

// End returns an address and port as the report shows them.
func (r *Report) End(a netip.AddrPort) string {
	if name := r.Names[a.Addr().Unmap()]; name != "" {
		return fmt.Sprintf("%s:%d", name, a.Port())
	}
	return a.String()
}

// RenameIn replaces the addresses in a text that have names: 192.0.2.1:22 and
// [2001:db8::1]:22 become server:22.
func RenameIn(text string, names map[netip.Addr]string) string {
	const octets = "0123456789abcdefABCDEF:."
	var out strings.Builder
	for len(text) > 0 {
		n := strings.IndexAny(text, octets)
		if n < 0 {
			break
		}
		out.WriteString(text[:n])
		text = text[n:]
		end := len(text) - len(strings.TrimLeft(text, octets))
		word, used := renamed(text[:end], names)
		out.WriteString(word)
		text = text[used:]
	}
	out.WriteString(text)
	return strings.NewReplacer(bracketed(names)...).Replace(out.String())
}

// bracketed undoes the brackets that stand around IPv6 addresses with a port.
func bracketed(names map[netip.Addr]string) (pairs []string) {
	for a, name := range names {
		if a.Is6() {
			pairs = append(pairs, "["+name+"]", name)
		}
	}
	return pairs
}

// renamed returns what a run of characters that addresses are made of becomes,
// and how many of them that took: all but full stops and colons behind it.
func renamed(run string, names map[netip.Addr]string) (string, int) {
	for used := len(run); used > 0; used-- {
		if a, err := netip.ParseAddr(run[:used]); err == nil {
			if name := names[a.Unmap()]; name != "" {
				return name, used
			}
			return run[:used], used
		}
		if a, err := netip.ParseAddrPort(run[:used]); err == nil {
			if name := names[a.Addr().Unmap()]; name != "" {
				return fmt.Sprintf("%s:%d", name, a.Port()), used
			}
			return run[:used], used
		}
		if c := run[used-1]; c != '.' && c != ':' {
			break
		}
	}
	return run, len(run)
}
