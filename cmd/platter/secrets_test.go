package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWithoutSecrets(t *testing.T) {
	got := withoutSecrets([]string{
		"PATH=/bin", "PLATTER_PASSWORD=a", "PLATTER_NEW_PASSWORD=b", "PLATTER_FROM_PASSWORD=c", "platter_password=d", "PLATTER_PASSWORD=",
		"PLATTER_PASSWORD_FILE=f", "PLATTER_NEW_PASSWORD_COMMAND=g", "PLATTER_REPOSITORY=/nas", "MY_PASSWORD=theirs", "X=PLATTER_PASSWORD=y", "PLATTER_PASSWORD",
	})
	want := []string{"PATH=/bin", "PLATTER_PASSWORD_FILE=f", "PLATTER_NEW_PASSWORD_COMMAND=g", "PLATTER_REPOSITORY=/nas", "MY_PASSWORD=theirs", "X=PLATTER_PASSWORD=y"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOneWayOut checks that other programs are started, and that JSON is encoded for people, in one place each: the one takes the
// passwords out of the environment, the other escapes what a terminal would obey.
func TestOneWayOut(t *testing.T) {
	allowed := map[string][]string{
		"exec.Command":        {},
		"exec.CommandContext": {"shell_other.go", "shell_windows.go"},
		"os.StartProcess":     {},
		"syscall.Exec":        {},
		"json.NewEncoder":     {"jsontext.go"},
		"json.Marshal":        {"jsontext.go"},
		"json.MarshalIndent":  {"locations.go"}, // into a file of the cache
		"os.Environ":          {"shell_other.go", "shell_windows.go"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	calls := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if of, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := of.X.(*ast.Ident); ok {
					call := pkg.Name + "." + of.Sel.Name
					if where, ok := allowed[call]; ok {
						if calls++; !slices.Contains(where, name) {
							t.Errorf("%s uses %s: that is for %q", name, call, where)
						}
					}
				}
			}
			return true
		})
	}
	if calls < 5 {
		t.Errorf("found %d calls", calls)
	}
}

// TestUnprintable checks that no character which a terminal obeys or hides comes out raw, of text, JSON, warnings and errors.
func TestUnprintable(t *testing.T) {
	bad := "\x00\x07\x1b\x7f\u0080\u009b\u009f\u00ad\u200b\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\U000e0001\U0001d173"
	for _, c := range bad {
		s := "a" + string(c) + "ü😀"
		e, stdout, stderr := testEnv(t)
		if err := e.printJSON(map[string]string{s: s}); err != nil {
			t.Fatal(err)
		}
		doc, err := oneDocument(stdout.String())
		if value, ok := lookUp(doc, s); err != nil || !ok || value != s {
			t.Errorf("%U: JSON %s says %q, %v", c, stdout, value, err)
		}
		e.warn(common{json: true}, "%s", s)
		if doc, err := oneDocument(stderr.String()); err != nil || doc.(map[string]any)["warning"] != s {
			t.Errorf("%U: a warning is %v, %v", c, doc, err)
		}
		e.report(os.ErrNotExist, true)
		e.report(usagef("%s", s), true)
		e.report(usagef("%s", s), false)
		e.warn(common{}, "%s", s)
		e.info(common{}, "%s", s)
		table := newTable(s)
		table.row(s)
		table.print(e)
		if _, err := e.stdout.Write([]byte("text " + s + "\n")); err != nil {
			t.Fatal(err)
		}
		for _, out := range []string{stdout.String(), stderr.String()} {
			if strings.ContainsRune(out, c) {
				t.Errorf("%U comes out raw: %q", c, out)
			}
		}
	}
	// What is no UTF-8 comes out as UTF-8, and a disk as it is.
	e, stdout, _ := testEnv(t)
	if err := e.printJSON("a\xff\x9b"); err != nil || stdout.String() != "\"a\ufffd\ufffd\"\n" && stdout.String() != `"a\ufffd\ufffd"`+"\n" {
		t.Errorf("%q, %v", stdout, err)
	}
	e, stdout, _ = testEnv(t)
	disk := []byte("\x00\x1b\x9b\xff\xc2\x9b\r\n")
	if _, err := e.stdout.raw().Write(disk); err != nil || !bytes.Equal([]byte(stdout.String()), disk) {
		t.Errorf("%q, %v", stdout, err)
	}
}
