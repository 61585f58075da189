package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"platter/repo"
)

// screen is standard error. Text written to it replaces the progress bar, which is drawn again below. No write fails, so that work
// goes on if standard error is closed.
type screen struct {
	w          io.Writer
	isTerminal bool
	columns    func() int // of the terminal, now; 0 if unknown

	mu    sync.Mutex
	shown int // cells of the visible line
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show("")
	_, _ = s.w.Write(p)
	return len(p), nil
}

// show replaces the visible line, and puts the cursor at its beginning.
func (s *screen) show(line string) {
	width := cells(line)
	if s.shown == 0 && width == 0 {
		return
	}
	rest := max(0, min(s.shown, s.room())-width)
	fmt.Fprintf(s.w, "\r%s%s\r", line, strings.Repeat(" ", rest))
	s.shown = width
}

// room is the number of cells for a line: all but the last, because terminals differ in where the cursor goes after it.
func (s *screen) room() int {
	columns := 0
	if s.columns != nil {
		columns = s.columns()
	}
	if columns <= 0 {
		columns = usualColumns
	}
	return columns - 1
}

const (
	frame        = 100 * time.Millisecond // between two pictures of the bar
	usualColumns = 80                     // of a terminal of unknown width, such as a serial line
)

// columnsOf returns a function for the current width of the terminal, since windows are resized.
func columnsOf(f *os.File) func() int {
	return func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return columns
	}
}

// progress shows p on the terminal until stop is called. With -q or --json, or without a terminal, it does nothing. stop waits
// until the bar is erased.
func (e *env) progress(c common, title string, p *repo.Progress) (stop func()) {
	if !e.stderr.isTerminal || c.quiet || c.json {
		return func() {}
	}
	ticker := time.NewTicker(frame)
	return e.stderr.follow(title, p, ticker.C, ticker.Stop)
}

// withProgress runs do, and shows its progress meanwhile.
func withProgress[T any](e *env, c common, title string, do func(*repo.Progress) (T, error)) (T, error) {
	var p repo.Progress
	defer e.progress(c, title, &p)()
	return do(&p)
}

// follow draws p at every tick.
func (s *screen) follow(title string, p *repo.Progress, tick <-chan time.Time, stopTick func()) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	draw := func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.show(line)
	}
	wg.Go(func() {
		b := bar{title: strings.Join(strings.Fields(printable(title)), " ")}
		for {
			select {
			case now := <-tick:
				draw(b.line(now, p.Done.Load(), p.Total.Load(), s.room()))
			case <-done:
				draw("")
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		stopTick()
		close(done)
		wg.Wait()
	})
}
