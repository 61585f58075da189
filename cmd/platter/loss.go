package main

import (
	"fmt"

	"platter/snapshot"
)

// How many ranges of a disk are listed. Whoever has the keys can make one that has 2^36 of them, and another program takes
// no more of them than it has memory for.
const (
	maxLostRanges = 1000
	maxDiffRanges = 100_000
)

// rangesJSON are the first ranges of a disk, and how many and how much the others are.
type rangesJSON struct {
	Ranges     []snapshot.Range `json:"ranges"`
	MoreRanges int64            `json:"more_ranges,omitempty"`
	MoreBytes  int64            `json:"more_bytes,omitempty"`
}

func rangesOf(r *snapshot.Runs, most int) (out rangesJSON) {
	out.Ranges, out.MoreRanges, out.MoreBytes = r.First(most)
	return out
}

// more says what is left out; "" where nothing is.
func (r rangesJSON) more() string {
	if r.MoreRanges == 0 {
		return ""
	}
	return fmt.Sprintf("and %s, of %s", count64(r.MoreRanges, "more range"), size(r.MoreBytes))
}

// lossJSON is what damage costs one snapshot.
type lossJSON struct {
	Snapshot string `json:"snapshot"`
	Name     string `json:"name"`
	Time     string `json:"time"`
	Bytes    int64  `json:"bytes"`
	rangesJSON
	Reasons []string `json:"reasons"`
}

// lossOf is a loss as --json prints it.
func lossOf(l snapshot.Loss) lossJSON {
	lost := lossJSON{Snapshot: l.Snapshot.ID.String(), Name: l.Snapshot.Name, Time: localTime(l.Snapshot.Time), Bytes: l.Ranges.Bytes,
		rangesJSON: rangesOf(l.Ranges, maxLostRanges)}
	for _, reason := range l.Reasons {
		lost.Reasons = append(lost.Reasons, reason.Error())
	}
	return lost
}

// printLoss lists what one snapshot has lost.
func printLoss(env *env, l lossJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	say("lost: %s of %s, %s: %s in %s", l.Snapshot[:8], l.Name, l.Time, size(l.Bytes), count64(int64(len(l.Ranges))+l.MoreRanges, "range"))
	for _, q := range l.Ranges {
		say("  bytes %d to %d", q.Off, q.Off+q.Len)
	}
	if more := l.more(); more != "" {
		say("  %s", more)
	}
	for _, reason := range l.Reasons {
		say("  because %s", reason)
	}
}
