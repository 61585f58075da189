package main

import (
	"io"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"

	"platter/repo"
)

// screen is standard error. What is written to it takes the place of the progress bar, if one is there, and the bar
// comes back below.
type screen struct {
	w          io.Writer
	isTerminal bool

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil when none is shown
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.clear(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

func (s *screen) clear() error {
	if s.bar == nil {
		return nil
	}
	return s.bar.Clear()
}

const (
	frame      = 100 * time.Millisecond // between two pictures of the bar
	titleWidth = 32                     // columns: a bar that wraps cannot be cleared away
)

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
	wg.Go(func() {
		b := meter{screen: s, title: text.Snip(printable(title), titleWidth, "…")}
		for {
			select {
			case <-tick:
				b.draw(p.Done.Load(), p.Total.Load())
			case <-done:
				b.close()
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

// A meter draws one Progress.
type meter struct {
	screen *screen
	title  string
	total  int64 // that the bar was made for; -1 for one without
}

// draw shows that done of total bytes are done; total is 0 while nobody knows, and may grow.
func (m *meter) draw(done, total int64) {
	m.screen.mu.Lock()
	defer m.screen.mu.Unlock()
	if total <= 0 {
		total = -1
	}
	s := m.screen
	if s.bar == nil || (m.total == -1) != (total == -1) {
		_ = s.clear() // a terminal that is gone says so to whoever writes to it next
		s.bar = newBar(s.w, m.title, total)
		m.total = total
		_ = s.bar.RenderBlank() // starts its clock, without which the first rate would be anything
		return
	}
	if total != m.total {
		s.bar.ChangeMax64(total)
		m.total = total
	}
	if total > 0 {
		done = min(done, total-1) // the library takes a full bar for the last, but the total may grow yet
	}
	_ = s.bar.Set64(done)
}

func (m *meter) close() {
	m.screen.mu.Lock()
	defer m.screen.mu.Unlock()
	_ = m.screen.clear()
	m.screen.bar = nil
}

func newBar(w io.Writer, title string, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(title),
		progressbar.OptionSetWidth(24),
		progressbar.OptionSetTheme(progressbar.ThemeASCII),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSpinnerCustom([]string{"|", "/", "-", `\`}),
		progressbar.OptionSetSpinnerChangeInterval(0), // it would start a goroutine that nobody ends
	)
}
