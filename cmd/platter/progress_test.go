package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"platter/repo"
)

func TestProgress(t *testing.T) {
	var p repo.Progress
	out := new(buffer)
	s := &screen{w: out, isTerminal: true}
	tick := make(chan time.Time)
	stopped := 0
	stop := s.follow("Reading", &p, tick, func() { stopped++ })
	// draw returns what is drawn of p now: at the first tick a new bar, where it takes one, and at the second p. The third
	// is only taken once the second was drawn.
	draw := func() string {
		before := len(out.String())
		for range 3 {
			tick <- time.Time{}
		}
		return out.String()[before:]
	}
	steps := []struct {
		name        string
		done, total int64
		want        string
	}{
		{"total not known", 5 << 20, 0, "5.0 MiB"},
		{"known", 25 << 20, 100 << 20, "25%"},
		{"all done, so far", 100 << 20, 100 << 20, "100/100 MiB"},
		{"more to do", 100 << 20, 200 << 20, "50%"},
		{"more done than expected", 300 << 20, 200 << 20, "99%"},
		{"more again", 300 << 20, 400 << 20, "75%"},
	}
	for _, step := range steps {
		p.Done.Store(step.done)
		p.Total.Store(step.total)
		if got := draw(); !strings.Contains(got, "Reading") || !strings.Contains(got, step.want) {
			t.Errorf("%s: drew %q, want %q in it", step.name, got, step.want)
		}
	}
	fmt.Fprint(s, "a line\n")
	if got := draw(); !strings.Contains(got, "75%") {
		t.Errorf("after a line: drew %q", got)
	}
	stop()
	stop()
	last := out.String()[strings.LastIndexByte(strings.TrimSuffix(out.String(), "\r"), '\r')+1:]
	if strings.TrimSpace(last) != "" || stopped != 1 {
		t.Errorf("%q is left; the ticker was stopped %d times", last, stopped)
	}
	if i := strings.Index(out.String(), "a line\n"); out.String()[i-1] != '\r' {
		t.Errorf("the line was written behind the bar")
	}
	fmt.Fprint(s, "the end\n")
	if !strings.HasSuffix(out.String(), last+"the end\n") {
		t.Errorf("something was drawn after the end: %q", out)
	}
}

func TestProgressStaysAway(t *testing.T) {
	for _, tt := range []struct {
		terminal bool
		c        common
	}{{false, common{}}, {true, common{quiet: true}}, {true, common{json: true}}} {
		e, stdout, stderr := testEnv(t)
		e.stderr.isTerminal = tt.terminal
		var p repo.Progress
		p.Add(1)
		stop := e.progress(tt.c, "Reading", &p)
		stop()
		if stdout.String()+stderr.String() != "" {
			t.Errorf("%+v: printed %q and %q", tt, stdout, stderr)
		}
	}
}
