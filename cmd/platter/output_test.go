package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"platter/pack"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestWords(t *testing.T) {
	id := pack.FileID{0x01, 0x23, 0xab, 0xcd, 0xef}
	tests := []struct{ got, want string }{
		{size(0), "0 B"},
		{size(1023), "1023 B"},
		{size(1288490189), "1.2 GiB"},
		{size(64 << 20), "64 MiB"},
		{size(-2048), "-2.0 KiB"},
		{duration(1234 * time.Microsecond), "1ms"},
		{duration(3240 * time.Millisecond), "3.2s"},
		{duration(59960 * time.Millisecond), "1m0s"},
		{duration(3723400 * time.Millisecond), "1h2m3s"},
		{shortID(id), "0123abcd"},
		{localTime(time.Date(2026, 3, 1, 9, 8, 7, 6, time.Local)), "2026-03-01 09:08:07"},
		{printable("a\x1b]0;b\u202e\tc\n"), "a?]0;b?\tc\n"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	e, stdout, _ := testEnv(t)
	table := newTable("ID", "Name", ">Size", "Tags")
	table.row("0123abcd", "laptop", "1.2 GiB", "")
	table.row("abcd0123", "naïve 磁碟", "12 B", "a\nb\x1b")
	table.print(e)
	want := `
ID        Name           Size  Tags
0123abcd  laptop      1.2 GiB
abcd0123  naïve 磁碟     12 B  a b?
`[1:]
	if got := stdout.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMessages(t *testing.T) {
	tests := []struct {
		c    common
		want string
	}{
		{common{}, "info 1\nplatter: warning: warn <3>\n"},
		{common{verbose: true}, "info 1\ndetail 2\nplatter: warning: warn <3>\n"},
		{common{quiet: true, verbose: true}, "platter: warning: warn <3>\n"},
		{common{json: true}, `{"warning":"warn \u003c3\u003e"}` + "\n"},
	}
	for _, tt := range tests {
		e, stdout, stderr := testEnv(t)
		e.info(tt.c, "info %d", 1)
		e.detail(tt.c, "detail %d", 2)
		e.warn(tt.c, "warn <%d>", 3)
		if stderr.String() != tt.want || stdout.String() != "" {
			t.Errorf("%+v: printed %q and %q", tt.c, stderr, stdout)
		}
	}
}

func TestPrintJSON(t *testing.T) {
	e, stdout, _ := testEnv(t)
	if err := e.printJSON(map[string]any{"name": "<a>", "size": 1}); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "{\n  \"name\": \"<a>\",\n  \"size\": 1\n}\n"; got != want {
		t.Errorf("got %s", got)
	}
}

type brokenPipe struct{ left int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestOutputKeepsFirstError(t *testing.T) {
	o := &output{w: &brokenPipe{left: 1}}
	for range 3 {
		fmt.Fprint(o, "text")
	}
	if o.err == nil || !strings.Contains(o.err.Error(), "no space left") {
		t.Errorf("got %v", o.err)
	}
}
