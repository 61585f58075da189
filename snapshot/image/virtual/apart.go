package virtual

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A span is a run of a file.
type span struct{ at, n int64 } // bytes

// spansMax is how many spans are held at a time, 32 MiB of them: enough for 4 TiB in blocks of 2 MiB. Files with more are gone
// through several times.
const spansMax = 2 << 20

// errFull ends a look through a file of which more is used than can be held.
var errFull = errors.New("more spans than are held at a time")

// apart holds that no byte of a file of size bytes is used twice. each yields what is used, the same each time: one of two uses
// was overwritten by the other, and nobody could say which. The error wraps ErrDamaged, or is that of each.
func apart(size int64, each func(yield func(span) error) error) error {
	return apartIn(size, spansMax, each)
}

func apartIn(size int64, most int, each func(yield func(span) error) error) error {
	var spans []span
	err := each(func(s span) error {
		if len(spans) == most {
			return cmp.Or(distinct(spans, 0), errFull) // a file made to do harm ends here
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
	end := int64(0) // of what was looked at
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
			if len(spans) > 2*most { // in so short a run, as many cannot lie side by side
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

// distinct sorts spans, and holds that they share no byte, nor one before end.
func distinct(spans []span, end int64) error {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.at, b.at) })
	for _, s := range spans {
		if s.at < end {
			return fmt.Errorf("%w: byte %d of the file belongs to two places of the disk, of which one is wrong", ErrDamaged, s.at)
		}
		end = s.at + s.n
	}
	return nil
}
