package render

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"kaflow/internal/golden"
)

// schemaFile is the published JSON Schema. It is written from the types that
// write the reports, so that the two cannot part: go test ./render -update.
const schemaFile = "schema/kaflow-1.schema.json"

func TestPublishedSchemaIsThatOfTheTypes(t *testing.T) {
	s := schemaOf(reflect.TypeFor[reportDoc]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "kaflow-1.schema.json"
	s["title"] = "A kaflow report, kaflow/1. Keys are only ever added; null means not known."
	s["properties"].(map[string]any)["schema"] = map[string]any{"const": SchemaName}
	want, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if golden.Updating() {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not that of the types: go test ./render -update writes it, the diff is what changes for readers", schemaFile)
	}
}

// schemaOf describes a type of the documents.
func schemaOf(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[nano]():
		return map[string]any{"type": "number"}
	case reflect.TypeFor[moment]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem())
		if name, ok := s["type"].(string); ok {
			s["type"] = []string{name, "null"}
			return s
		}
		return map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem()), "minItems": t.Len(), "maxItems": t.Len()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		s := map[string]any{"type": "object", "properties": map[string]any{}, "required": []string{}}
		describe(s, t)
		return s
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return map[string]any{"type": "integer"}
	}
	return map[string]any{}
}

// describe adds a struct's fields, those of embedded ones as its own.
func describe(s map[string]any, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			describe(s, f.Type)
			continue
		}
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		s["properties"].(map[string]any)[name] = schemaOf(f.Type)
		if rest != "omitempty" && rest != "omitzero" {
			s["required"] = append(s["required"].([]string), name)
		}
	}
}
