package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name          string
		variable      string
		file, command string
		typed         []string
		isNew         bool
		usage         bool // it is a usage error
		want, err     string
	}{
		{name: "the file comes first", variable: "v", file: file("a", "f"), want: "f"},
		{name: "or the command", variable: "v", command: "echo c", typed: []string{"t"}, want: "c"},
		{name: "not both", file: file("b", "f"), command: "echo c", usage: true, err: "contradict each other"},
		{name: "then the variable", variable: "v", typed: []string{"t"}, want: "v"},
		{name: "then the terminal", typed: []string{"t"}, want: "t"},
		{name: "one line end is cut off", file: file("c", " p w \n\n"), want: " p w \n"},
		{name: "a line end of Windows too", file: file("d", "pw\r\n"), want: "pw"},
		{name: "only the first line of a command", command: "echo one&& echo two", want: "one"},
		{name: "empty file", file: file("e", "\n"), err: "empty password"},
		{name: "no such file", file: filepath.Join(dir, "none"), err: "none"},
		{name: "endless file", file: file("f", strings.Repeat("x", maxPassword+1)), err: "longer than"},
		{name: "command fails", command: "exit 7", err: "exit status 7"},
		{name: "command prints nothing", command: "exit 0", err: "empty password"},
		{name: "nothing typed", typed: []string{""}, err: "protects nothing"},
		{name: "no terminal", err: "no password given, and no terminal to ask for it: set PLATTER_PASSWORD or use --password-file"},
		{name: "new, typed twice", isNew: true, typed: []string{"t", "t"}, want: "t"},
		{name: "new, mistyped", isNew: true, typed: []string{"t", "T"}, err: "differ"},
		{name: "new, from the variable", isNew: true, variable: "v", want: "v"},
		{name: "new, no terminal", isNew: true, err: "no new password given, and no terminal to ask for it: set PLATTER_NEW_PASSWORD or"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, _, _ := testEnv(t)
			get, source, variable := e.password, passwordSource{name: "password"}, "PLATTER_PASSWORD"
			if tt.isNew {
				get, source.name, variable = e.newPassword, "new-password", "PLATTER_NEW_PASSWORD"
			}
			source.file, source.command = tt.file, tt.command
			e.getenv = func(name string) string { return map[string]string{variable: tt.variable}[name] }
			if tt.typed != nil {
				e.ask = func(context.Context, string) ([]byte, error) {
					line := tt.typed[0]
					tt.typed = tt.typed[1:]
					return []byte(line), nil
				}
			}
			p, err := get(context.Background(), source)
			if string(p) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q, %q", p, err, tt.want, tt.err)
			}
			if usage := tt.usage || strings.Contains(tt.err, "no terminal"); errors.Is(err, errUsage) != usage {
				t.Errorf("usage error: %v", err)
			}
		})
	}
}

func TestPasswordCommandIsBounded(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	e, _, _ := testEnv(t)
	_, err := e.password(context.Background(), passwordSource{name: "password", command: "exec cat /dev/zero"})
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless output: %v", err)
	}
}

// A command that hangs, and one that left a child with its output open behind, must not keep Ctrl-C from working.
func TestPasswordCommandCanBeInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	e, _, stderr := testEnv(t)
	go func() {
		for !strings.Contains(stderr.String(), "started") {
			runtime.Gosched()
		}
		cancel(errors.New("signal"))
	}()
	start := time.Now()
	_, err := e.password(ctx, passwordSource{name: "password", command: "echo started >&2; sleep 60 & sleep 60"})
	if err == nil || !errors.Is(err, context.Cause(ctx)) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
