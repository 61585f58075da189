package snapshot

import (
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]Span{
		"1y6m14d12h": {1, 6, 14, 12}, "14d": {Days: 14}, "1y1d": {Years: 1, Days: 1}, "999999h": {Hours: 999999}, "0y5d": {Days: 5},
		"2m3h": {Months: 2, Hours: 3},
	} {
		if got, err := ParseSpan(text); got != want || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "0d", "0y0m0d0h", "5", "d", "1d1y", "1d1d", "1w", "1D", "-1d", "+1d", "1.5d", " 1d", "1d ", "1 d", "1dd", "1000000h",
		"0000001d", "99999999999999999999y", "1y2", "٣d",
	} {
		if got, err := ParseSpan(text); err == nil || got != (Span{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestSpanBefore(t *testing.T) {
	loc := berlin(t)
	for _, test := range []struct{ span, from, want string }{
		{"1m", "2026-03-31 12:00", "2026-02-28 12:00"},
		{"1m", "2028-03-31 12:00", "2028-02-29 12:00"},
		{"1y", "2028-02-29 12:00", "2027-02-28 12:00"},
		{"4y", "2028-02-29 12:00", "2024-02-29 12:00"},
		{"1m", "2026-01-15 00:00", "2025-12-15 00:00"},
		{"13m", "2026-01-31 00:00", "2024-12-31 00:00"},
		{"1m1d", "2026-03-31 12:00", "2026-02-27 12:00"},
		{"1d", "2026-03-30 02:30", "2026-03-29 03:30"},
		{"24h", "2026-03-29 12:00", "2026-03-28 11:00"},
		{"1d", "2026-03-29 12:00", "2026-03-28 12:00"},
		{"1d", "2026-10-25 12:00", "2026-10-24 12:00"},
		{"25h", "2026-10-25 12:00", "2026-10-24 12:00"},
		{"1y6m14d12h", "2026-08-20 18:00", "2025-02-06 06:00"},
	} {
		span, err := ParseSpan(test.span)
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.ParseInLocation("2006-01-02 15:04", test.from, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := span.Before(from).Format("2006-01-02 15:04"); got != test.want {
			t.Errorf("%s before %s: %s, want %s", test.span, test.from, got, test.want)
		}
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"1y6m14d12h", "", "0d", "999999y999999m999999d999999h", "1d1y", "00001h", "y"} {
		f.Add(s)
	}
	t0 := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		span, err := ParseSpan(s)
		if (err != nil) != (span == Span{}) {
			t.Fatalf("%q: %+v, %v", s, span, err)
		}
		if err != nil {
			return
		}
		if again, err := ParseSpan(span.String()); again != span || err != nil {
			t.Fatalf("%q is %+v, worded %q, which is %+v (%v)", s, span, span.String(), again, err)
		}
		if from := span.Before(t0); !from.Before(t0) {
			t.Fatalf("%q before %v is %v", s, t0, from)
		}
	})
}
