package overlay

import "sync"

// Spans are the ranges of blocks that calls write to at this moment. Calls that share a block run one after the other,
// in the order in which they came.
type spans struct {
	mu   sync.Mutex
	held []*span // in the order in which they came
}

type span struct {
	from, to int64
	done     chan struct{} // closed by unlock
}

// lock waits for all earlier calls that share a block with those from one to before another. It blocks later ones until
// unlock is called.
func (s *spans) lock(from, to int64) (unlock func()) {
	own := &span{from, to, make(chan struct{})}
	var earlier []*span
	s.mu.Lock()
	for _, h := range s.held {
		if h.from < to && from < h.to {
			earlier = append(earlier, h)
		}
	}
	s.held = append(s.held, own)
	s.mu.Unlock()
	for _, h := range earlier {
		<-h.done
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, h := range s.held {
			if h == own {
				s.held = append(s.held[:i], s.held[i+1:]...)
				break
			}
		}
		close(own.done)
	}
}
