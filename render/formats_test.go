package render

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"kaflow/analyzer"
	"kaflow/internal/golden"
	"kaflow/tcp"
)

// writers are all formats.
func writers(o Options) map[string]func(io.Writer, *analyzer.Report) error {
	with := func(f func(io.Writer, *analyzer.Report, Options) error) func(io.Writer, *analyzer.Report) error {
		return func(w io.Writer, r *analyzer.Report) error { return f(w, r, o) }
	}
	return map[string]func(io.Writer, *analyzer.Report) error{
		"text": with(Text), "html": with(HTML), "md": with(Markdown), "jira": with(Jira), "json": with(JSON), "ndjson": with(NDJSON),
		"flows": with(Flows), "flows.tsv": with(FlowsTSV), "flows.ndjson": with(FlowsNDJSON),
	}
}

func TestFormatsAreWhatProgramsRead(t *testing.T) {
	for name, r := range reports() {
		for format, write := range writers(Options{}) {
			if format == "text" || format == "json" && name == "many-flows" || strings.HasSuffix(format, "ndjson") && name != "silent-drop" {
				continue
			}
			t.Run(name+"-"+format, func(t *testing.T) {
				golden.Compare(t, name+"."+format, written(t, func(b *bytes.Buffer) error { return write(b, r) }))
			})
		}
	}
}

func TestNothingRawComesOut(t *testing.T) {
	for _, o := range []Options{{}, {ASCII: true}, {Width: 60}, {All: true}} {
		for format, write := range writers(o) {
			out := written(t, func(b *bytes.Buffer) error { return write(b, hostileNames()) })
			if !utf8.Valid(out) {
				t.Errorf("%s is not valid UTF-8", format)
			}
			for i, r := range string(out) {
				layout := r == '\n' || r == '\t' && strings.HasSuffix(format, ".tsv")
				if !layout && hostile(r) {
					t.Errorf("%s, %+v: %U at %d: %q", format, o, r, i, out[max(0, i-20):min(len(out), i+20)])
					break
				}
			}
		}
	}
}

// JSON in ASCII is the same JSON to those who read it, whatever its strings hold
// and wherever a write cuts them.
func TestASCIIOfJSONIsTheSame(t *testing.T) {
	const want = "9 × 75 s, 日本, \U0001f600, \u007f"
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) {
		var b bytes.Buffer
		w := JSONWriter(&b, Options{ASCII: true})
		for _, part := range [][]byte{text[:cut], text[cut:]} {
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		var got string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != want {
			t.Errorf("cut at %d: %s is %q, %v", cut, b.Bytes(), got, err)
		}
	}
}

func TestSafe(t *testing.T) {
	for _, tc := range []struct{ situation, text, want string }{
		{"plain name", "client.pcap", "client.pcap"},
		{"Windows path", `C:\captures\x.pcap`, `C:\captures\x.pcap`},
		{"letters of the world", "Änderung 日本語 שלום", "Änderung 日本語 שלום"},
		{"escape sequence", "\x1b[2J", `\x1b[2J`},
		{"operating system command", "\x1b]0;x\x07", `\x1b]0;x\x07`},
		{"C1 introducer", "\u009b31m", `\x9b31m`},
		{"delete", "a\x7f", `a\x7f`},
		{"line break", "a\r\nb\tc", `a\x0d\x0ab\x09c`},
		{"other line breaks", "a\u2028b\u2029c\u0085d", `a\u2028b\u2029c\x85d`},
		{"text turned round", "a\u202egpj.exe", `a\u202egpj.exe`},
		{"isolates and marks", "\u2066a\u2069\u200e\u061c", `\u2066a\u2069\u200e\u061c`},
		{"nothing to see", "a\u200bb\u2060c\ufeffd\u00ade", `a\u200bb\u2060c\ufeffd\xade`},
		{"fillers that count as letters", "\u3164\u115f\u2800\u00a0", `\u3164\u115f\u2800\xa0`},
		{"tags and selectors", "a\U000e0041\ufe0f", `a\U000e0041\ufe0f`},
		{"invalid UTF-8", "a\xffb\xc3(\xed\xa0\x80", `a\xffb\xc3(\xed\xa0\x80`},
		{"a replacement character of its own", "a\ufffdb", `a\ufffdb`},
		{"NUL", "a\x00b", `a\x00b`},
		{"private use", "\ue000", `\ue000`},
		{"long", strings.Repeat("x", 300), strings.Repeat("x", 254) + "…"},
		{"long and wide", strings.Repeat("日", 300), strings.Repeat("日", 254) + "…"},
		{"long once escaped", strings.Repeat("\x00", 100), strings.Repeat(`\x00`, 63) + `\x…`},
		{"just short enough", strings.Repeat("é", 255), strings.Repeat("é", 255)},
		{"empty", "", ""},
	} {
		got := Safe(tcp.Untrusted(tc.text))
		if got != tc.want {
			t.Errorf("%s: Safe(%q) = %q, want %q", tc.situation, tc.text, got, tc.want)
		}
		if again := Safe(tcp.Untrusted(got)); again != got {
			t.Errorf("%s: Safe of it once more is %q, want %q", tc.situation, again, got)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add(hostile1)
	f.Add("日本語\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Safe(tcp.Untrusted(s))
		if !utf8.ValidString(got) || strings.ContainsFunc(got, hostile) || utf8.RuneCountInString(got) > maxSafe {
			t.Errorf("Safe(%q) = %q", s, got)
		}
		if plain := toASCII(got); strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r > 0x7e }) {
			t.Errorf("toASCII(%q) = %q", got, plain)
		}
		for _, l := range wrap(got, 40) {
			if width(l) > 40 {
				t.Errorf("wrap of %q gives %q", got, l)
			}
		}
	})
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("schema/kaflow-1.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJSONFollowsItsSchema(t *testing.T) {
	s := schema(t)
	for name, r := range reports() {
		out := written(t, func(b *bytes.Buffer) error { return JSON(b, r, Options{}) })
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefusesWhatItShould(t *testing.T) {
	s := schema(t)
	for name, spoil := range map[string]func(map[string]any){
		"another schema":         func(d map[string]any) { d["schema"] = "kaflow/2" },
		"no flows":               func(d map[string]any) { delete(d, "flows") },
		"local time":             func(d map[string]any) { d["flows"].([]any)[0].(map[string]any)["alive_until"] = "2026-11-20 18:00" },
		"a frame that is a word": func(d map[string]any) { fileOfDoc(d)["frames"] = "12" },
		"no null for unknown":    func(d map[string]any) { delete(fileOfDoc(d), "sha256") },
	} {
		out := written(t, func(b *bytes.Buffer) error { return JSON(b, silentDrop(), Options{}) })
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		spoil(doc.(map[string]any))
		if s.Validate(doc) == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}

func fileOfDoc(d map[string]any) map[string]any {
	return d["captures"].([]any)[0].(map[string]any)["files"].([]any)[0].(map[string]any)
}

func TestNoKeyStandsTwice(t *testing.T) {
	for name, r := range reports() {
		for _, format := range []string{"json", "ndjson", "flows.ndjson"} {
			d := json.NewDecoder(bytes.NewReader(written(t, func(b *bytes.Buffer) error { return writers(Options{})[format](b, r) })))
			for d.More() {
				if err := unique(d); err != nil {
					t.Fatalf("%s as %s: %v", name, format, err)
				}
			}
		}
	}
}

// unique reads one value and fails on a key that its object had before.
func unique(d *json.Decoder) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	open, nested := tok.(json.Delim)
	if !nested {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if seen[key.(string)] {
				return &json.UnsupportedValueError{Str: "key twice: " + key.(string)}
			}
			seen[key.(string)] = true
		}
		if err := unique(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func TestNDJSONIsOneObjectPerLine(t *testing.T) {
	var types []string
	for l := range bytes.Lines(written(t, func(b *bytes.Buffer) error { return NDJSON(b, silentDrop(), Options{}) })) {
		var doc struct {
			Schema, Type string
			Vantage, At  *string
		}
		if err := json.Unmarshal(l, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Schema != SchemaName {
			t.Errorf("schema %q in %s", doc.Schema, l)
		}
		types = append(types, doc.Type)
	}
	if got, want := strings.Join(types, " "), "capture capture clock flow total"; got != want {
		t.Errorf("types %q, want %q", got, want)
	}
}

func TestSameReportSameOctets(t *testing.T) {
	for format, write := range writers(Options{All: true}) {
		once := written(t, func(b *bytes.Buffer) error { return write(b, manyFlows()) })
		for range 5 {
			if again := written(t, func(b *bytes.Buffer) error { return write(b, manyFlows()) }); !bytes.Equal(once, again) {
				t.Errorf("%s differs from run to run", format)
			}
		}
	}
}
