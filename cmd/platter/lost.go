package main

import (
	"context"
	"fmt"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// How many ranges of a disk are listed. Anyone with the keys can create a disk with 2^36 of them, and a program that reads JSON has
// limited memory.
const (
	maxLostLines  = 50 // in text; --bad-map writes all of them
	maxLostRanges = 1000
	maxDiffRanges = 100_000
)

// rangesJSON lists the first ranges of a disk, and counts the others and their bytes.
type rangesJSON struct {
	Ranges     []diskmap.Range `json:"ranges"`
	MoreRanges int64           `json:"more_ranges,omitempty"`
	MoreBytes  int64           `json:"more_bytes,omitempty"`
}

func rangesOf(r *diskmap.Runs, most int) (out rangesJSON) {
	out.Ranges, out.MoreRanges, out.MoreBytes = r.First(most)
	return out
}

// more says what is left out; "" if nothing is.
func (r rangesJSON) more() string { return moreRanges(r.MoreRanges, r.MoreBytes) }

func moreRanges(ranges, bytes int64) string {
	if ranges == 0 {
		return ""
	}
	return fmt.Sprintf("and %s, of %s", count64(ranges, "more range"), size(bytes))
}

// rangeText formats a range.
func rangeText(q diskmap.Range) string { return fmt.Sprintf("bytes %d to %d", q.Off, q.Off+q.Len) }

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
	lost := lossJSON{
		Snapshot: l.Snapshot.ID.String(), Name: l.Snapshot.Name, Time: localTime(l.Snapshot.Time), Bytes: l.Ranges.Bytes,
		rangesJSON: rangesOf(l.Ranges, maxLostRanges),
	}
	for _, reason := range l.Reasons {
		lost.Reasons = append(lost.Reasons, reason.Error())
	}
	return lost
}

// printLoss lists the ranges that one snapshot has lost.
func printLoss(env *env, l lossJSON) {
	say := func(format string, args ...any) { fmt.Fprintln(env.stdout, printable(fmt.Sprintf(format, args...))) }
	say("lost: %s of %s, %s: %s in %s", l.Snapshot[:8], l.Name, l.Time, size(l.Bytes), count64(int64(len(l.Ranges))+l.MoreRanges, "range"))
	for _, q := range l.Ranges {
		say("  %s", rangeText(q))
	}
	if more := l.more(); more != "" {
		say("  %s", more)
	}
	for _, reason := range l.Reasons {
		say("  because %s", reason)
	}
}

// lostJSON lists the ranges of a disk that are known to be lost.
type lostJSON struct {
	Lost      []diskmap.Range `json:"lost,omitempty"`
	MoreLost  int64           `json:"more_lost,omitempty"` // ranges that are not listed
	MoreBytes int64           `json:"more_bytes,omitempty"`
}

// lostRanges returns the ranges of a disk that are known to be lost. For most disks there are none, and it reads nothing.
func lostRanges(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, c common) (lost lostJSON, err error) {
	all, err := allLost(ctx, r, s)
	if err != nil {
		return lost, err
	}
	most := maxLostLines
	if c.json {
		most = maxLostRanges
	}
	lost.Lost, lost.MoreLost, lost.MoreBytes = all.First(most)
	return lost, nil
}

func allLost(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot) (*diskmap.Runs, error) {
	if s.Unreadable == 0 {
		return new(diskmap.Runs), nil
	}
	if err := r.LoadIndex(ctx); err != nil {
		return nil, err
	}
	return snapshot.Lost(ctx, r, s)
}

// each formats the ranges one by one, each followed by what.
func (l lostJSON) each(what string, say func(string)) {
	for _, q := range l.Lost {
		say(rangeText(q) + what)
	}
	if more := moreRanges(l.MoreLost, l.MoreBytes); more != "" {
		say(more + badMapLists)
	}
}

// warnOfLost names the restored ranges that are zeros because their data is lost.
func warnOfLost(ctx context.Context, env *env, c common, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part) error {
	all, err := allLost(ctx, r, s)
	if err != nil {
		return err
	}
	total, named := int64(0), 0
	for q := range all.All() {
		if q.Off >= part.Off+part.Len {
			break
		}
		from, to := max(q.Off, part.Off), min(q.Off+q.Len, part.Off+part.Len)
		if from >= to {
			continue
		}
		if named++; named <= maxLostLines {
			env.warn(c, "%s were lost before this version was stored or repaired, and are zeros", rangeText(diskmap.Range{Off: from, Len: to - from}))
		}
		total += to - from
	}
	switch {
	case total == 0:
		return nil
	case named > maxLostLines:
		env.warn(c, "and %s%s", count(named-maxLostLines, "more range"), badMapLists)
	}
	return fmt.Errorf("%w: %s of the disk are lost", errIncomplete, size(total))
}
