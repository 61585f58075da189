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

// screen is standard error. What is written to it takes the place of the progress bar, if one is there, and the bar
// comes back below. No write fails: work goes on where nobody listens.
type screen struct {
	w          io.Writer
	isTerminal bool
	columns    func() int // of the terminal, as it is now; 0 where that is not known

	mu    sync.Mutex
	shown int // cells of the line that is shown
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show("")
	_, _ = s.w.Write(p)
	return len(p), nil
}

// show puts a line in the place of the one that is shown, and the cursor at its beginning.
func (s *screen) show(line string) {
	width := cells(line)
	if s.shown == 0 && width == 0 {
		return
	}
	rest := max(0, min(s.shown, s.room())-width)
	fmt.Fprintf(s.w, "\r%s%s\r", line, strings.Repeat(" ", rest))
	s.shown = width
}

// room is how many cells a line may take: all but the last, since terminals differ in where the cursor goes from there.
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
	usualColumns = 80                     // of a terminal that does not say how wide it is, as on a serial line
)

// columnsOf returns how wide the terminal is at any time: windows are resized.
func columnsOf(f *os.File) func() int {
	return func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return columns
	}
}

// progress shows on the terminal how far p has come, until stop is called; with -q or --json, or where there is no
// terminal, it does nothing. stop waits until the bar is gone.
func (e *env) progress(c common, title string, p *repo.Progress) (stop func()) {
	if !e.stderr.isTerminal || c.quiet || c.json {
		return func() {}
	}
	ticker := time.NewTicker(frame)
	return e.stderr.follow(title, p, ticker.C, ticker.Stop)
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
