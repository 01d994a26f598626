package render

import "time"

// Limits of the width, in columns.
const (
	defaultWidth = 100
	leastWidth   = 40
)

// Options say how a report is written. The zero value is plain text at 100
// columns in UTC.
type Options struct {
	Width    int            // columns; 0 is 100, less than 40 is 40
	ASCII    bool           // no octet above 0x7e, whatever the names hold
	Color    bool           // colours repeat what the words say
	Location *time.Location // of the times in text; nil is UTC
	All      bool           // every flow in full
	Flow     int            // this flow alone, in full; 0 is none
	Mermaid  bool           // Markdown: the timeline as a sequence diagram, too
	MaxChars int            // Markdown and Jira: what a tracker takes; 0 is no limit
	NoBanner bool           // leave out what the two sides called themselves
}

func (o Options) width() int {
	if o.Width == 0 {
		return defaultWidth
	}
	return max(o.Width, leastWidth)
}

func (o Options) location() *time.Location {
	if o.Location == nil {
		return time.UTC
	}
	return o.Location
}
