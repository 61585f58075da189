package restore

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// fileContent returns a fill function that writes text.
func fileContent(text string) func(f *os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	}
}

// names returns the names in a folder, joined by spaces.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, want %q; %v", path, got, want, err)
	}
}

// TestTempNames checks that a temporary name is valid wherever the file's own name is valid.
func TestTempNames(t *testing.T) {
	for _, letter := range []string{"x", "é", "磁", "👩", "\xff"} {
		for n := 1; n*len(letter) <= 255; n++ {
			name := strings.Repeat(letter, n)
			temp := tempStem(name) + strings.Repeat("0", tempRandom)
			if len(temp) > max(len(name), tempShort) || temp[0] != '.' || utf8.ValidString(temp) != utf8.ValidString(name) {
				t.Errorf("%q, of %d bytes, becomes %q, of %d", name, len(name), temp, len(temp))
			}
		}
	}
}

// TestNewFileNames writes files with names and paths of the maximum length.
func TestNewFileNames(t *testing.T) {
	for _, name := range []string{"x", strings.Repeat("x", 240), strings.Repeat("x", 255), strings.Repeat("磁", 85)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			if runtime.GOOS != "linux" {
				continue // other systems count the length differently
			}
			t.Fatal(err)
		}
		if err := ReplaceFile(path, nil, fileContent("new")); err != nil {
			t.Fatal(err)
		}
		holds(t, path, "new")
		if got := names(t, filepath.Dir(path)); got != name {
			t.Errorf("there is %q", got)
		}
	}
}

func TestNewFileFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	fails := errors.New("it fails")
	fill := func(f *os.File) error { return errors.Join(fails, fileContent("half")(f)) }
	if err := ReplaceFile(path, nil, fill); !errors.Is(err, fails) || names(t, filepath.Dir(path)) != "" {
		t.Errorf("%v; there is %q", err, names(t, filepath.Dir(path)))
	}
	if err := ReplaceFile(path, nil, fileContent("old")); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(path, nil, fill); !errors.Is(err, fails) || names(t, filepath.Dir(path)) != "disk" {
		t.Errorf("%v; there is %q", err, names(t, filepath.Dir(path)))
	}
	holds(t, path, "old")
	if err := intoNew(path, overwriting{}, nil, fileContent("new")); !errors.Is(err, ErrTargetExists) {
		t.Error(err)
	}
	holds(t, path, "old")
}

// TestUnfinished removes a file during the write, as a process does when its command hangs.
func TestUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	var u Unfinished
	if err := ReplaceFile(path, &u, fileContent("old")); err != nil {
		t.Fatal(err)
	}
	err := ReplaceFile(path, &u, func(f *os.File) error {
		if got := names(t, filepath.Dir(path)); !strings.Contains(got, tempMark) {
			t.Errorf("there is %q", got)
		}
		u.Remove()
		if got := names(t, filepath.Dir(path)); got != "disk" {
			t.Errorf("there is %q after that", got)
		}
		return fileContent("new")(f)
	})
	if err == nil {
		t.Error("a file that was removed got its name")
	}
	filled := false
	if err := ReplaceFile(path, &u, func(f *os.File) error { filled = true; return nil }); err == nil || filled {
		t.Errorf("another was begun: %v", err)
	}
	holds(t, path, "old")
	if got := names(t, filepath.Dir(path)); got != "disk" {
		t.Errorf("there is %q in the end", got)
	}
}
