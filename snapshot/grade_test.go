package snapshot

import (
	"testing"
	"time"
)

// TestPolicyGrades checks which version of a period stays. W is a whole version, m one modified while it was read, u
// one with unreadable bytes, r the replacement of the version before it.
func TestPolicyGrades(t *testing.T) {
	const one, noon, two, three = "2026-01-01 02:00", "2026-01-01 14:00", "2026-01-02 02:00", "2026-01-03 02:00"
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		policy Policy
		grades string
		times  []string
		want   string
	}{
		{"the whole one of a day", Policy{Daily: 9}, "WuW", []string{one, noon, two}, "0 daily 2026-01-01; 2 daily 2026-01-02"},
		{"not a mixture", Policy{Daily: 9}, "WmW", []string{one, noon, two}, "0 daily 2026-01-01; 2 daily 2026-01-02"},
		{"a mixture before holes", Policy{Daily: 9}, "muW", []string{one, noon, two}, "0 daily 2026-01-01; 2 daily 2026-01-02"},
		{"the newest of equals", Policy{Daily: 9}, "uuW", []string{one, noon, two}, "1 daily 2026-01-01; 2 daily 2026-01-02"},
		{"holes where there is nothing else", Policy{Daily: 9}, "uW", []string{one, two}, "0 daily 2026-01-01; 1 daily 2026-01-02"},
		{"the newest stays", Policy{Daily: 9}, "Wu", []string{one, noon}, "0 daily 2026-01-01; 1 newest"},
		{"the newest stays, by another rule", Policy{Daily: 9, Last: 1}, "Wu", []string{one, noon}, "0 daily 2026-01-01; 1 last"},
		{"by week", Policy{Weekly: 1}, "Wum", []string{one, noon, two}, "0 weekly 2026-W01; 2 newest"},
		{"last", Policy{Last: 1}, "WWu", []string{one, noon, two}, "1 newest whole version; 2 last"},
		{
			"last, each grade",
			Policy{Last: 2},
			"WWmmuu",
			[]string{one, one, noon, noon, two, three},
			"1 newest whole version; 3 newest version without unreadable bytes; 4 last; 5 last",
		},
		{"days with holes push no whole one out", Policy{Daily: 1}, "Wuu", []string{one, two, three}, "0 newest whole version; 2 daily 2026-01-03"},
		{"within", Policy{Within: Span{Hours: 3}}, "Wu", []string{one, three}, "0 newest whole version; 1 within 3h"},
		{"within keeps all", Policy{Within: Span{Days: 9}}, "Wu", []string{one, noon}, "0 within 9d; 1 within 9d"},
		{"a mended version is better than the broken one", Policy{Last: 1}, "Wr", []string{one, one}, "1 last"},
		{"the newest whole one is before the broken one", Policy{Daily: 1}, "WWr", []string{one, two, two}, "0 newest whole version; 2 daily 2026-01-02"},
	} {
		all := numbered(t, time.UTC, test.times...)
		for i, s := range all {
			s.Modified = test.grades[i] == 'm'
			if test.grades[i] == 'u' {
				s.Unreadable = 512
			}
			if test.grades[i] == 'r' {
				s.Unreadable, s.Note = 512, RepairNote(all[i-1])+"4 KiB lost"
			}
		}
		if got := decided(t, test.policy, all, now, time.UTC); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
