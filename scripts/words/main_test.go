package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSlips checks what is found in a file, by its name and text.
func TestSlips(t *testing.T) {
	c := newChecker()
	for _, test := range []struct {
		path, text string
		want       []string // beginnings of lines
	}{
		{"a.md", "All is well.\n", nil},
		{"a.md", "One\ncome what\nmay.\n", []string{`a.md:2: "come what may": write always`}},
		{"a.md", "The pack is Gone.", []string{`a.md:1: "is Gone"`}},
		{"a.md", "the vowel, the bygone and the untold", nil},
		{"a.md", "It is no longer there; it is no key.", []string{`a.md:1: "it is no key"`}},
		{"a.txtar", "exec sh\nstderr 'the packs, of which two'\n", []string{`a.txtar:2: "of which"`}},
		{"a.md", "packs, some of which are damaged", nil},
		{"docs/format.md", "| honours | list |", nil},
		{"a.md", "it honours the marker", []string{`a.md:1: "honours"`}},
		{"a.go", "package a\n\n// That it is no\n// longer there.\n", nil},
		{"a.json", "nobody", nil},
		{"a.go", "package a\n\n// It is\n// not known\n// which pack.\nvar a = 1\n", []string{`a.go:3: "It is not known which"`}},
		{"a.go", "package a\n\nvar a = f(\"it is\", \"not known which\")\n", nil},
		{"a.go", "package a\n\nvar a = `one\nnobody`\n", []string{`a.go:4: "nobody"`}},
		{"a.go", "package a\n\nvar standIn, BadPack, understandIn int\n", []string{`a.go:3: "standIn"`, `a.go:3: "BadPack"`}},
		{"a.go", "package a\n\nvar vhdPlan, explanation int\n", []string{`a.go:3: "vhdPlan"`}},
		{"snapshot/restore/a.go", "package a\n\nvar plan int\n", nil},
		{"a.go", "package a\n\nvar lies = told // nobody\n", []string{`a.go:3: "lies"`, `a.go:3: "told"`, `a.go:3: "nobody"`}},
	} {
		got := c.file(test.path, []byte(test.text))
		if len(got) != len(test.want) {
			t.Errorf("%s %q: %q, want %q", test.path, test.text, got, test.want)
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s %q: %q, want %q", test.path, test.text, got[i], want)
			}
		}
	}
}

// TestRun plants a slip in a repository, in a file that git does not know yet.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	path := filepath.Join(dir, "README.md")
	for text, want := range map[string]error{"A pack is missing.\n": nil, "A pack has vanished.\n": errSlips} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := run(&out, dir); !errors.Is(err, want) || (want != nil) != strings.HasPrefix(out.String(), `README.md:1: "vanished"`) {
			t.Errorf("%q: %v, %s", text, err, &out)
		}
	}
}
