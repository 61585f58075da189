package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"platter/pack"
	"platter/repo"
)

// A Seen version is one that this machine knows was in the repository.
type Seen struct {
	ID   pack.ID   `json:"id"`
	Name string    `json:"name"`
	Host string    `json:"host"`
	Time time.Time `json:"time"`
}

// What a machine has seen lies in a file (see repo.Remember) as JSON: of each disk the newest version, and those that are
// missing. A repository proves what was kept and not that this is all, so a client that remembers is the only one to
// notice that the NAS hides versions, or was taken back to an earlier state.
const (
	seenName  = "seen"
	seenMagic = "platterV"
)

type seenFile struct {
	Versions []Seen `json:"versions"`
}

// Missed returns the versions that this machine has seen, that are not there any more, and that nobody has removed on
// purpose, as Forget records it. They are missed until Accept. Snapshots and bad are what Load returned; the newest version
// of each disk is remembered from now on.
func Missed(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, bad []error, now time.Time) ([]Seen, error) {
	if !r.Remembers() {
		return nil, nil
	}
	before := recall(r)
	there := map[pack.ID]bool{}
	for _, s := range snapshots {
		there[s.ID] = true
	}
	keep := newest(snapshots, now)
	var absent []Seen
	for _, v := range before {
		if there[v.ID] {
			continue
		}
		if isUnreadable(bad, v.ID) { // it is there, and nobody can tell which disk it is of but we
			keep = append(keep, v)
			continue
		}
		absent = append(absent, v)
	}
	missed, err := stillAbsent(ctx, r, absent, &keep)
	if err != nil {
		return nil, err
	}
	remember(r, before, append(keep, missed...))
	return missed, nil
}

// stillAbsent leaves out what somebody removed on purpose, and adds to there what came after the snapshots were listed: a
// backup by another process of this machine.
func stillAbsent(ctx context.Context, r *repo.Repo, absent []Seen, there *[]Seen) (missed []Seen, err error) {
	if len(absent) == 0 {
		return nil, nil
	}
	ids := make([]pack.ID, len(absent))
	for i, v := range absent {
		ids[i] = v.ID
	}
	forgotten, err := r.Forgotten(ctx, ids)
	if err != nil {
		return nil, err
	}
	listed, err := r.ListSnapshots(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range absent {
		switch {
		case slices.Contains(listed, v.ID):
			*there = append(*there, v)
		case !forgotten[v.ID]:
			missed = append(missed, v)
		}
	}
	return missed, nil
}

func isUnreadable(bad []error, id pack.ID) bool {
	return slices.ContainsFunc(bad, func(err error) bool {
		u, ok := errors.AsType[*Unreadable](err)
		return ok && u.ID == id
	})
}

// newest returns the newest version of each disk. What claims to be from the future would stay the newest for long, and
// hide that others are missing.
func newest(snapshots []*Snapshot, now time.Time) (seen []Seen) {
	for _, disk := range versions(snapshots, now) {
		for _, d := range slices.Backward(disk.Decisions) {
			if !d.Future {
				seen = append(seen, Seen{d.ID, d.Name, d.Host, d.Time})
				break
			}
		}
	}
	return seen
}

// Saw remembers a snapshot that this machine has just put.
func Saw(r *repo.Repo, s *Snapshot, now time.Time) {
	before := recall(r)
	remember(r, before, append(slices.Clone(before), newest([]*Snapshot{s}, now)...))
}

// Unsee makes this machine miss none of the snapshots that it has just forgotten, whatever records the NAS shows later.
func Unsee(r *repo.Repo, ids []pack.ID) {
	before := recall(r)
	remember(r, before, slices.DeleteFunc(slices.Clone(before), func(v Seen) bool { return slices.Contains(ids, v.ID) }))
}

// Accept makes this machine take what is there now for all there is. The error is of what it remembers with.
func Accept(r *repo.Repo, snapshots []*Snapshot, now time.Time) error {
	return write(r, newest(snapshots, now))
}

func recall(r *repo.Repo) []Seen {
	var f seenFile
	if json.Unmarshal(r.Recall(seenName, seenMagic), &f) != nil {
		return nil
	}
	return f.Versions
}

// remember writes what changed. Where it cannot be written there is no memory, as there is no cache then: what a command was
// asked for is done all the same.
func remember(r *repo.Repo, before, now []Seen) {
	if r.Remembers() && !slices.Equal(before, sorted(now)) {
		_ = write(r, now)
	}
}

func sorted(seen []Seen) []Seen {
	slices.SortFunc(seen, func(a, b Seen) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host), a.Time.Compare(b.Time), slices.Compare(a.ID[:], b.ID[:]))
	})
	return slices.CompactFunc(seen, func(a, b Seen) bool { return a.ID == b.ID })
}

func write(r *repo.Repo, seen []Seen) error {
	data, err := json.Marshal(seenFile{sorted(seen)})
	if err != nil {
		return err
	}
	return r.Remember(seenName, seenMagic, data)
}
