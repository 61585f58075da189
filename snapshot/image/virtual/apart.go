package virtual

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A span is a run of a file.
type span struct{ at, n int64 } // bytes

// spansMax is the number of spans in memory at a time, 32 MiB: enough for 4 TiB in blocks of 2 MiB. A file with more
// takes several passes.
const spansMax = 2 << 20

// errFull ends a pass over a file with more spans than fit in memory.
var errFull = errors.New("too many spans")

// apart checks that no byte of a file of size bytes is used twice. If one is, one use has overwritten the other, and
// it is unknown which. each yields the used spans, the same each time. The error wraps ErrDamaged, or is each's
// error.
func apart(size int64, each func(yield func(span) error) error) error {
	return apartIn(size, spansMax, each)
}

func apartIn(size int64, most int, each func(yield func(span) error) error) error {
	var spans []span
	err := each(func(s span) error {
		if len(spans) == most {
			return cmp.Or(distinct(spans, 0), errFull) // a hostile file ends here
		}
		spans = append(spans, s)
		return nil
	})
	switch {
	case err == nil:
		return distinct(spans, 0)
	case !errors.Is(err, errFull):
		return err
	}
	const ranges = 1 << 16 // of the file
	width, counts := size/ranges+1, make([]int, ranges+1)
	if err := each(func(s span) error {
		counts[min(s.at/width, ranges)]++
		return nil
	}); err != nil {
		return err
	}
	end := int64(0) // of the part already checked
	for first := 0; first < len(counts); {
		next, n := first, 0
		for next < len(counts) && (next == first || n+counts[next] <= most) {
			n, next = n+counts[next], next+1
		}
		spans = spans[:0]
		if err := each(func(s span) error {
			if in := min(s.at/width, ranges); in < int64(first) || in >= int64(next) {
				return nil
			}
			if len(spans) > 2*most { // so short a run cannot hold as many disjoint spans
				return cmp.Or(distinct(spans, end), errFull)
			}
			spans = append(spans, s)
			return nil
		}); err != nil {
			return err
		}
		if err := distinct(spans, end); err != nil {
			return err
		}
		if len(spans) > 0 {
			end = max(end, spans[len(spans)-1].at+spans[len(spans)-1].n)
		}
		first = next
	}
	return nil
}

// distinct sorts spans and checks that they share no byte and use none before end.
func distinct(spans []span, end int64) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.at, b.at) })
	for _, s := range spans {
		if s.at < end {
			return fmt.Errorf("%w: byte %d of the file belongs to two places of the disk, so one of them is wrong", ErrDamaged, s.at)
		}
		end = s.at + s.n
	}
	return nil
}
