package render

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"kaflow/analyzer"
	"kaflow/capture"
	"kaflow/flows"
	"kaflow/pairing"
	"kaflow/tcp"
)

// SchemaName is what the key "schema" holds.
const SchemaName = "kaflow/1"

// JSON writes the report as one object with the keys of
// schema/kaflow-1.schema.json, in a stable order, indented by two blanks.
func JSON(w io.Writer, r *analyzer.Report, o Options) error {
	e := json.NewEncoder(JSONWriter(w, o))
	e.SetIndent("", "  ")
	return e.Encode(reportJSON(r, o))
}

// NDJSON writes the report as one object per line: captures, clocks, flows and
// a total, each with schema, type, vantage and at.
func NDJSON(w io.Writer, r *analyzer.Report, o Options) error {
	doc := frameJSON(r)
	w = JSONWriter(w, o)
	for i := range doc.Captures {
		c := &doc.Captures[i]
		first := null[moment]()
		if len(c.Files) > 0 {
			first = c.Files[0].First
		}
		if err := encodeLine(w, captureLine{heading{SchemaName, "capture", &c.Vantage, first}, c.Name, c.Role, c.RoleWhy, c.Files}); err != nil {
			return err
		}
	}
	for _, c := range doc.Clocks {
		if err := encodeLine(w, clockLine{heading{SchemaName, "clock", &c.From, c.Pieces[0].At}, c}); err != nil {
			return err
		}
	}
	if err := FlowsNDJSON(w, r, o); err != nil {
		return err
	}
	return encodeLine(w, totalLine{heading{SchemaName, "total", nil, nil}, doc.Totals, doc.Paths, unaskedOf(r), doc.LimitsHit, doc.Hints})
}

// encodeLine writes one object and a line feed.
func encodeLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// heading begins every object of NDJSON.
type heading struct {
	Schema  string  `json:"schema"`
	Type    string  `json:"type"`
	Vantage *string `json:"vantage"`
	At      *moment `json:"at"`
}

type (
	captureLine struct { // a captureDoc has a vantage of its own
		heading
		Name    string    `json:"name"`
		Role    *text     `json:"role"`
		RoleWhy *text     `json:"role_why"`
		Files   []fileDoc `json:"files"`
	}
	clockLine struct {
		heading
		clockDoc
	}
	flowLineDoc struct {
		heading
		flowDoc
	}
	totalLine struct {
		heading
		Totals    totalsDoc    `json:"totals"`
		Paths     []pathDoc    `json:"paths"`
		Unasked   []unaskedDoc `json:"unasked"`
		LimitsHit []text       `json:"limits_hit"`
		Hints     []text       `json:"hints"`
	}
)

// text is a string that nothing hostile gets through.
type text string

// MarshalJSON writes the text escaped.
func (t text) MarshalJSON() ([]byte, error) { return json.Marshal(escape(string(t))) }

// nano is a duration written in seconds, exactly.
type nano time.Duration

// MarshalJSON writes seconds as a JSON number.
func (n nano) MarshalJSON() ([]byte, error) { return []byte(decimal(time.Duration(n))), nil }

// decimal is a duration in seconds, exactly, without trailing zeros.
func decimal(d time.Duration) string {
	sign, whole, part := "", d/time.Second, d%time.Second
	if d < 0 {
		sign, whole, part = "-", -whole, -part
	}
	s := fmt.Sprintf("%s%d", sign, whole)
	if part != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", part), "0")
	}
	return s
}

// null is JSON's null.
func null[T any]() *T { return nil }

// orNull is nil for the zero value, which stands for "not known".
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// secondsOrNull is nil for zero, which stands for "not known".
func secondsOrNull(d time.Duration) *nano { return orNull(nano(d)) }

// moment is an instant as RFC 3339 writes it, in UTC.
type moment string

func instant(t tcp.Instant) *moment {
	if t == 0 {
		return nil
	}
	s := moment(t.Time().Format(utcForm))
	return &s
}

// texts is a list that is never null.
func texts(list []string) []text {
	out := make([]text, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

func rangeDoc(r flows.Range) *[2]nano {
	if !r.Known {
		return nil
	}
	return &[2]nano{nano(r.Min), nano(r.Max)}
}

// mapped turns each element of a list into its document; it is never null.
func mapped[T, D any](list []T, f func(*T) D) []D {
	out := make([]D, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

type reportDoc struct {
	Schema    string       `json:"schema"`
	Tool      toolDoc      `json:"tool"`
	Command   *string      `json:"command"`
	Captures  []captureDoc `json:"captures"`
	Totals    totalsDoc    `json:"totals"`
	Clocks    []clockDoc   `json:"clocks"`
	Flows     []flowDoc    `json:"flows"`
	Paths     []pathDoc    `json:"paths"`
	Unasked   []unaskedDoc `json:"unasked"`
	LimitsHit []text       `json:"limits_hit"`
	Hints     []text       `json:"hints"`
}

type toolDoc struct {
	Name    text  `json:"name"`
	Version *text `json:"version"`
}

type totalsDoc struct {
	Flows     int            `json:"flows"`
	Closed    int            `json:"closed"`
	Evicted   int            `json:"evicted"`
	ByVerdict map[string]int `json:"by_verdict"`
	Listed    int            `json:"listed"`
	ByWhatIf  map[string]int `json:"by_what_if"`
}

type unaskedDoc struct {
	Rule text `json:"rule"`
	Why  text `json:"why"`
}

func reportJSON(r *analyzer.Report, o Options) reportDoc {
	doc := frameJSON(r)
	for d := range r.Each() {
		if o.Flow == 0 || o.Flow == d.ID {
			doc.Flows = append(doc.Flows, flowOf(r, d, o))
		}
	}
	doc.Unasked = unaskedOf(r)
	return doc
}

// frameJSON is all of a report but its flows, and what is known when they are.
func frameJSON(r *analyzer.Report) reportDoc {
	return reportDoc{
		Schema: SchemaName, Tool: toolOf(r.Tool), Command: orNull(escape(r.Command)), Captures: capturesOf(r), Totals: totalsOf(r), Clocks: clocksOf(r), Flows: []flowDoc{},
		Paths:     mapped(r.Paths, pathOf),
		LimitsHit: texts(r.Limits), Hints: texts(r.Hints),
	}
}

// unaskedOf is complete when all flows of the report were gone through.
func unaskedOf(r *analyzer.Report) []unaskedDoc {
	return mapped(r.Unasked, func(u *analyzer.Unasked) unaskedDoc { return unaskedDoc{text(u.Rule), text(u.Why)} })
}

// toolOf splits "kaflow 1.2" into name and version.
func toolOf(tool string) toolDoc {
	name, version, _ := strings.Cut(tool, " ")
	return toolDoc{text(name), orNull(text(version))}
}

func totalsOf(r *analyzer.Report) totalsDoc {
	t := r.Totals
	by := map[string]int{}
	for id, n := range t.ByVerdict {
		by[escape(id)] = n
	}
	whatIf := map[string]int{}
	for answer, n := range t.ByWhatIf {
		whatIf[escape(answer)] = n
	}
	return totalsDoc{t.Flows, t.Closed, t.Evicted, by, t.Listed, whatIf}
}

type captureDoc struct {
	Name    string    `json:"name"`
	Vantage string    `json:"vantage"`
	Role    *text     `json:"role"`
	RoleWhy *text     `json:"role_why"`
	Files   []fileDoc `json:"files"`
}

type fileDoc struct {
	Path         string            `json:"path"`
	Format       text              `json:"format"`
	LinkTypes    []text            `json:"link_types"`
	Frames       uint64            `json:"frames"`
	TCPFrames    uint64            `json:"tcp_frames"`
	First        *moment           `json:"first"`
	Last         *moment           `json:"last"`
	SHA256       *string           `json:"sha256"`
	Complete     bool              `json:"complete"`
	StillGrowing bool              `json:"still_growing"`
	Drops        *string           `json:"drops"`
	Undecoded    map[string]uint64 `json:"undecoded"`
	Problems     []problemDoc      `json:"problems"`
}

type problemDoc struct {
	Frame  *uint64 `json:"frame"`
	Offset int64   `json:"offset"`
	What   text    `json:"what"`
	Fatal  bool    `json:"fatal"`
}

func capturesOf(r *analyzer.Report) []captureDoc {
	docs := make([]captureDoc, len(r.Vantages))
	for i := range r.Vantages {
		v := &r.Vantages[i]
		name := vantageName(r, i)
		docs[i] = captureDoc{name, name, orNull(text(v.Role)), orNull(text(v.RoleWhy)), mapped(v.Files, fileOf)}
	}
	return docs
}

func fileOf(f *capture.File) fileDoc {
	doc := fileDoc{
		Path: Safe(f.Path), Format: text(f.Format), LinkTypes: texts(f.LinkTypes), Frames: f.Frames, TCPFrames: f.TCPFrames,
		First: instant(f.First), Last: instant(f.Last), Complete: f.Complete, StillGrowing: f.StillGrowing,
		Undecoded: map[string]uint64{},
		Problems: mapped(f.Problems, func(p *capture.Problem) problemDoc {
			return problemDoc{orNull(p.Frame), p.Offset, text(p.What), p.Fatal}
		}),
	}
	for reason, n := range f.Undecoded {
		doc.Undecoded[escape(reason)] = n
	}
	doc.SHA256 = orNull(f.SHA256)
	if f.DropsKnown {
		drops := strconv.FormatUint(f.Drops, 10)
		doc.Drops = &drops
	}
	return doc
}

type clockDoc struct {
	From   string     `json:"from"`
	To     string     `json:"to"`
	Pieces []pieceDoc `json:"pieces"`
}

type pieceDoc struct {
	Since     *moment  `json:"since"`
	Until     *moment  `json:"until"`
	At        *moment  `json:"at"`
	Offset    *int64   `json:"offset_ns"`
	OffsetMin *int64   `json:"offset_min_ns"`
	OffsetMax *int64   `json:"offset_max_ns"`
	Skew      *float64 `json:"skew_ppm"`
	SkewMin   *float64 `json:"skew_min_ppm"`
	SkewMax   *float64 `json:"skew_max_ppm"`
	SkewTS    *float64 `json:"skew_by_timestamps_ppm"`
	SkewTSErr *float64 `json:"skew_by_timestamps_error_ppm"`
	Given     bool     `json:"given"`
	Assumed   bool     `json:"assumed"`
	Note      *text    `json:"note"`
}

// clocksOf gathers the stretches of each pair of vantage points.
func clocksOf(r *analyzer.Report) []clockDoc {
	docs := []clockDoc{}
	index := map[[2]int]int{}
	for i := range r.Clocks {
		c := &r.Clocks[i]
		at, known := index[[2]int{c.From, c.To}]
		if !known {
			at = len(docs)
			index[[2]int{c.From, c.To}] = at
			docs = append(docs, clockDoc{From: vantageName(r, c.From), To: vantageName(r, c.To)})
		}
		docs[at].Pieces = append(docs[at].Pieces, pieceOf(c))
	}
	return docs
}

func pieceOf(c *pairing.Clock) pieceDoc {
	doc := pieceDoc{
		Since: instant(c.Since), Until: instant(c.Until), At: instant(c.At), Given: c.Given, Note: orNull(text(c.Note)),
	}
	if c.Contradiction {
		return doc
	}
	doc.Offset = ref(int64(c.Offset))
	if !c.NoMin {
		doc.OffsetMin = ref(int64(c.Min))
	}
	if !c.NoMax {
		doc.OffsetMax = ref(int64(c.Max))
	}
	if c.PPM != 0 || c.PPMMin != 0 || c.PPMMax != 0 {
		doc.Skew, doc.SkewMin, doc.SkewMax = ref(c.PPM), ref(c.PPMMin), ref(c.PPMMax)
	}
	if c.Stamps.Flows > 0 {
		doc.SkewTS, doc.SkewTSErr = ref(c.Stamps.PPM), ref(c.Stamps.Err)
	}
	return doc
}

func ref[T any](v T) *T { return &v }

type pathDoc struct {
	Between [2]text  `json:"between"`
	Limit   limitDoc `json:"idle_limit"`
	Note    *text    `json:"note"`
}

type limitDoc struct {
	idleDoc
	Fits []fitDoc `json:"fits"`
}

type idleDoc struct {
	Direction         *text `json:"direction"`
	RefreshedBy       *text `json:"refreshed_by"`
	Survived          *nano `json:"survived_s"`
	SurvivedRelearned *nano `json:"survived_relearned_s"`
	Killed            *nano `json:"killed_s"`
}

type fitDoc struct {
	Device  text `json:"device"`
	Seconds int  `json:"seconds"`
	Source  text `json:"source"`
}

func pathOf(p *analyzer.Path) pathDoc {
	return pathDoc{
		Between: [2]text{text(p.Between[0]), text(p.Between[1])},
		Limit: limitDoc{idleOf(p.Limit), mapped(p.Fits, func(f *analyzer.Fit) fitDoc {
			return fitDoc{text(f.Device), f.Seconds, text(f.Source)}
		})},
		Note: orNull(text(p.Note)),
	}
}

func idleOf(b analyzer.IdleBracket) idleDoc {
	return idleDoc{
		orNull(text(b.Direction)), orNull(text(b.RefreshedBy)),
		secondsOrNull(b.Survived), secondsOrNull(b.SurvivedRelearned), secondsOrNull(b.Killed),
	}
}
