package repo

import "sync/atomic"

// Progress counts what long work has done, in bytes, for other goroutines to poll. A nil Progress counts nothing.
type Progress struct {
	Total atomic.Int64 // 0 while it is unknown
	Done  atomic.Int64
}

// Add counts n bytes as done.
func (p *Progress) Add(n int64) {
	if p != nil {
		p.Done.Add(n)
	}
}

// Expect adds n bytes to the total.
func (p *Progress) Expect(n int64) {
	if p != nil {
		p.Total.Add(n)
	}
}
