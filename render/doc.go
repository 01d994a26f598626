// Package render turns an analyzer.Report into what the user reads: the text
// report, the table of flows, and JSON. It lays a flow's timeline out once, as
// rows, and each format writes those rows; it computes nothing and decides
// nothing. The same report gives the same octets every time.
//
// # Text from outside
//
// Every string of a report goes through Safe or its uncapped form: control
// octets, bidirectional controls, invisible characters and invalid UTF-8 come
// out as visible \x1b or \u202e. Colours are added after that.
//
// # JSON
//
// The schema is schema/kaflow-1.schema.json. null is "not known", never 0.
// Numbers are chosen by field, never by value: frame numbers, counts and
// stream numbers are JSON numbers (no file can hold 2^53 frames); the drop
// counter of a file is a decimal string, since it is 64 bits that anyone may
// have written into the file; hashes are strings of hex. Names that end in _s
// are seconds, in _ns whole nanoseconds. Clock offsets are exact, but beyond
// 104 days a reader that holds them in doubles rounds by up to a microsecond.
// Times are RFC 3339 with nanoseconds, in UTC.
package render
