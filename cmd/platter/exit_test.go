package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"platter/repo"
	"platter/repo/crypt"
	"platter/snapshot/serve/fuse"
	"platter/snapshot/serve/nbd"
)

func TestExitCode(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("some error"), 1},
		{context.Canceled, 1}, // without a signal it is a fault like any other
		{usagef("too many"), 2},
		{fmt.Errorf("restore: %w", errIncomplete), 3},
		{fmt.Errorf("open: %w", repo.ErrNoRepository), 10},
		{fmt.Errorf("prune: %w", &repo.InUseError{}), 11},
		{fmt.Errorf("mount: %w", fuse.ErrMounted), 11},
		{fmt.Errorf("listen: %w", nbd.ErrSocketTaken), 11},
		{errors.Join(crypt.ErrWrongPassword, errors.New("and more")), 12},
		{fmt.Errorf("%w: %w", errInterrupted, usagef("x")), 130},

		// Of several errors the one that says most of what became of the command decides.
		{errors.Join(errIncomplete, nil), 3},
		{errors.Join(errIncomplete, fmt.Errorf("two: %w", errIncomplete)), 3},
		{fmt.Errorf("%w: %w", errIncomplete, errors.New("what is missing")), 3},
		{errors.Join(errIncomplete, errors.New("disk full")), 1},
		{errors.Join(errors.New("disk full"), errIncomplete), 1},
		{fmt.Errorf("x: %w", errors.Join(errIncomplete, fmt.Errorf("y: %w", errors.New("disk full")))), 1},
		{errors.Join(errIncomplete, fmt.Errorf("prune: %w", &repo.InUseError{})), 11},
		{errors.Join(errIncomplete, fmt.Errorf("%w: %w", errInterrupted, context.Canceled)), 130},
		{errors.Join(usagef("x"), errors.New("close")), 2},
		{errors.Join(errors.New("close"), repo.ErrNoRepository), 10},
	}
	for _, tt := range tests {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: exit code %d, want %d", tt.err, got, tt.want)
		}
		if !strings.Contains(strings.Join(strings.Fields(description), " "), fmt.Sprintf(" %d ", tt.want)) {
			t.Errorf("help says nothing of exit code %d", tt.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	live := context.Background()
	signal := errors.New("interrupt signal received")
	dead, cancel := context.WithCancelCause(live)
	cancel(signal)
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"done before the signal", dead, nil, false},
		{"the context's error", dead, fmt.Errorf("read: %w", context.Canceled), true},
		{"the context's cause", dead, fmt.Errorf("read: %w", signal), true},
		{"an error of its own", dead, errors.New("disk full"), false},
		{"no signal", live, context.Canceled, false},
	}
	for _, tt := range tests {
		got := interrupted(tt.ctx, tt.err)
		if errors.Is(got, errInterrupted) != tt.want || tt.err != nil && !errors.Is(got, tt.err) {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		err    error
		asJSON bool
		want   string
	}{
		{nil, true, ""},
		{errors.New("disk full"), false, "platter: disk full\n"},
		{errors.New("a \x1b[2Jb\nc"), false, "platter: a ?[2Jb\n  c\n"},
		{errors.New("a\nb"), true, `{"error":"a\nb","code":1}` + "\n"},
		{fmt.Errorf("%w: %w", errInterrupted, context.Canceled), false, "platter: interrupted\n"},
		{usagef("no %s", "way"), false, "platter: no way; see 'platter help'\n"},
	}
	for _, tt := range tests {
		e, stdout, stderr := testEnv(t)
		if code := e.report(tt.err, tt.asJSON); code != exitCode(tt.err) {
			t.Errorf("%v: code %d", tt.err, code)
		}
		if stderr.String() != tt.want || stdout.String() != "" {
			t.Errorf("%v: printed %q and %q, want %q", tt.err, stdout, stderr, tt.want)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for line, want := range map[string]bool{
		"platter version --json": true, "platter --json=true x": true, "platter -json": true,
		"platter version": false, "platter show -- --json": false, "platter --jsonx": false,
	} {
		if wantsJSON(words(line)) != want {
			t.Errorf("%s: %v", line, !want)
		}
	}
}
