package snapshot

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Span is a length of time in calendar units: the length of a month depends on the month it is subtracted from. The
// zero value is no time at all.
type Span struct{ Years, Months, Days, Hours int }

// maxSpanDigits keeps each number of a span below a million. Even in hours, that is more than a hundred years.
const maxSpanDigits = 6

// ParseSpan reads a span such as 1y6m14d12h: years, months, days and hours in this order, each optional. An empty span
// is an error.
func ParseSpan(s string) (span Span, err error) {
	rest := s
	for _, unit := range span.units() {
		end := strings.IndexByte(rest, unit.letter)
		if end < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:end], 10, 31)
		if err != nil || end > maxSpanDigits {
			return Span{}, badSpan(s)
		}
		*unit.n, rest = int(n), rest[end+1:]
	}
	if rest != "" || span == (Span{}) {
		return Span{}, badSpan(s)
	}
	return span, nil
}

func badSpan(s string) error {
	return fmt.Errorf("%.40q is no length of time, such as 14d or 1y6m14d12h", s)
}

// A spanUnit is one of the numbers of a span.
type spanUnit struct {
	letter byte
	n      *int
}

func (s *Span) units() []spanUnit {
	return []spanUnit{{'y', &s.Years}, {'m', &s.Months}, {'d', &s.Days}, {'h', &s.Hours}}
}

// String formats a span as ParseSpan reads it; "" for the zero value.
func (s Span) String() string {
	var out []byte
	for _, unit := range s.units() {
		if *unit.n != 0 {
			out = append(strconv.AppendInt(out, int64(*unit.n), 10), unit.letter)
		}
	}
	return string(out)
}

// Before returns the moment one span before t, in t's time zone. A month before 31 March is the last day of February.
// AddDate would return 3 March, which makes the span shorter than it says.
func (s Span) Before(t time.Time) time.Time {
	year, month, day := t.Date()
	month -= time.Month(12*s.Years + s.Months) // Date normalizes any month
	day = min(day, time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day())
	hour, minute, second := t.Clock()
	from := time.Date(year, month, day-s.Days, hour, minute, second, t.Nanosecond(), t.Location())
	return from.Add(-time.Duration(s.Hours) * time.Hour)
}
