package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"platter/repo"
)

func TestProgress(t *testing.T) {
	var p repo.Progress
	out := new(buffer)
	s := &screen{w: out, isTerminal: true}
	tick := make(chan time.Time)
	stopped := 0
	stop := s.follow("Reading", &p, tick, func() { stopped++ })
	// draw returns what is drawn of p now. The second tick is only taken once the first was drawn.
	draw := func() string {
		before := len(out.String())
		for range 2 {
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
		{"all done, so far", 100 << 20, 100 << 20, "100 MiB of 100 MiB"},
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

// titles are names of disks whose letters take no cell, one, or two, or as many as the terminal thinks.
var titles = []string{
	"", "x", "laptop", "workstation.example.internal/disk0", strings.Repeat("long", 50), "磁碟/資料", strings.Repeat("磁", 40),
	"naïve", "e\u0301\u0301te", "диск", "❤️❤️❤️", "👩‍👩‍👧‍👦 family", "a磁b碟c", "tab\tand\nline",
}

// TestBarFits checks that the line takes no more cells than it may, in terminals of every width, and that it says what it can.
func TestBarFits(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	amounts := [][2]int64{{0, 0}, {5 << 20, 0}, {0, 1}, {1, 3}, {1 << 40, 1 << 41}, {5, 4}, {1 << 62, math.MaxInt64}, {1023 << 30, 1023 << 30}}
	for room := range 201 {
		for _, title := range titles {
			for _, a := range amounts {
				b := bar{title: title}
				for _, after := range []time.Duration{0, time.Minute, 1000 * time.Hour} {
					line := b.line(start.Add(after), a[0], a[1], room)
					if n := cells(line); n > room || runewidth.StringWidth(line) > n || room >= 3 && line == "" {
						t.Fatalf("%d cells, %q: drew %q, which takes %d", room, title, line, n)
					}
					if room >= 80 && a[1] > 0 && !strings.Contains(line, "%") {
						t.Errorf("%d cells: drew %q", room, line)
					}
				}
			}
		}
	}
}

// A tape is a terminal that does not know of more than one line: whatever gets to a second one is a fault. It takes the cursor to the
// second line when something is written to its last column, as some terminals do.
type tape struct {
	t       *testing.T
	columns int
	at      int
	line    []rune // one for a cell; 0 for the second of a wide one
}

func (p *tape) Write(b []byte) (int, error) {
	for _, r := range string(b) {
		switch r {
		case '\r':
			p.at = 0
			continue
		case '\n':
			p.at, p.line = 0, nil
			continue
		}
		width := runewidth.RuneWidth(r)
		if p.at+width >= p.columns && !p.t.Failed() {
			p.t.Errorf("in %d columns, %q went to the end of the line", p.columns, b) // not Fatalf: it is not the test's goroutine
		}
		for len(p.line) < p.at+width {
			p.line = append(p.line, ' ')
		}
		for i := range width {
			p.line[p.at+i] = r * rune(1-min(i, 1))
		}
		p.at += width
	}
	return len(b), nil
}

// TestProgressInNarrowTerminals draws in terminals of every width, which change meanwhile, and holds that nothing of the bar is left.
func TestProgressInNarrowTerminals(t *testing.T) {
	for columns := range 201 {
		terminal := &tape{t: t, columns: columns}
		if columns == 0 {
			terminal.columns = usualColumns // it does not say
		}
		s := &screen{w: terminal, isTerminal: true, columns: func() int { return columns }}
		for _, title := range titles {
			var p repo.Progress
			p.Total.Store(400 << 30)
			tick := make(chan time.Time)
			stop := s.follow(title, &p, tick, func() {})
			for i := range 8 {
				p.Done.Store(int64(i) * 50 << 30)
				tick <- time.Unix(int64(i)*77, 0)
			}
			stop()
			if left := strings.TrimSpace(string(terminal.line)); left != "" || terminal.at != 0 {
				t.Fatalf("in %d columns, %q is left of %q", columns, left, title)
			}
		}
	}
}

func TestProgressInResizedTerminal(t *testing.T) {
	terminal := &tape{t: t, columns: 100}
	s := &screen{w: terminal, columns: func() int { return terminal.columns }}
	b := bar{title: "laptop"}
	for _, columns := range []int{100, 30, 31, 2, 1, 90} {
		terminal.columns, terminal.line = columns, nil // the terminal has put the line elsewhere
		s.show(b.line(time.Unix(0, 0), 1<<30, 8<<30, s.room()))
		if drew := strings.TrimSpace(string(terminal.line)); columns > 20 && !strings.HasPrefix(drew, "laptop 12%") {
			t.Errorf("in %d columns it drew %q", columns, drew)
		}
	}
}
