package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptJSON compares a value in a JSON document. PATH is keys and numbers of elements with dots between them; "len" stands
// for how many elements there are, and "." for the whole document. WANT is a text, which the value must be; or a number
// behind < or >; or "absent".
func scriptJSON(ts *testscript.TestScript, args []string) {
	if err := compareJSON(ts.ReadFile(args[0]), args[1], args[2]); err != nil {
		ts.Fatalf("json %s %s: %v", args[0], args[1], err)
	}
}

func compareJSON(text, path, want string) error {
	doc, err := oneDocument(text)
	if err != nil {
		return err
	}
	got, ok := lookUp(doc, path)
	switch {
	case want == "absent" && ok:
		return fmt.Errorf("it is %v", got)
	case want == "absent":
		return nil
	case !ok:
		return errors.New("there is no such value")
	case want[0] == '<' || want[0] == '>':
		limit, err := strconv.ParseFloat(want[1:], 64)
		if err != nil {
			return err
		}
		if n, ok := got.(float64); !ok || n == limit || (n < limit) != (want[0] == '<') {
			return fmt.Errorf("it is %v, want %s", got, want)
		}
		return nil
	}
	if text := wordJSON(got); text != want {
		return fmt.Errorf("it is %s, want %s", text, want)
	}
	return nil
}

// oneDocument decodes a text that must hold nothing else.
func oneDocument(text string) (doc any, err error) {
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the document")
	}
	return doc, nil
}

func lookUp(v any, path string) (any, bool) {
	if path == "." {
		return v, true
	}
	for key := range strings.SplitSeq(path, ".") {
		switch container := v.(type) {
		case map[string]any:
			value, ok := container[key]
			if !ok {
				return nil, false
			}
			v = value
		case []any:
			if key == "len" {
				return float64(len(container)), true
			}
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(container) {
				return nil, false
			}
			v = container[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// wordJSON is a text as it is, anything else as JSON.
func wordJSON(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func TestCompareJSON(t *testing.T) {
	const doc = `{"a": {"b": [1, "two", {"c": true}]}, "n": 1099511627776, "none": []}`
	tests := []struct {
		path, want string
		ok         bool
	}{
		{"a.b.0", "1", true},
		{"a.b.1", "two", true},
		{"a.b.2.c", "true", true},
		{"a.b.len", "3", true},
		{"none.len", "0", true},
		{"none", "[]", true},
		{"n", "1099511627776", true},
		{"n", ">1099511627775", true},
		{"a.b.0", "<2", true},
		{"a.d", "absent", true},
		{"a.b.3", "absent", true},
		{"a.b.0.x", "absent", true},
		{"a.b.0", "2", false},
		{"a.b.0", ">1", false},
		{"a.b.0", "<1", false},
		{"a.b.1", ">0", false},
		{"a.d", "1", false},
		{"a", "absent", false},
		{"n", "<x", false},
	}
	for _, tt := range tests {
		if err := compareJSON(doc, tt.path, tt.want); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.path, tt.want, err)
		}
	}
	for _, text := range []string{"", "{", "{} {}", "[1] x"} {
		if compareJSON(text, ".", "{}") == nil {
			t.Errorf("%q passed for one document", text)
		}
	}
}
