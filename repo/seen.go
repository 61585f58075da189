package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"platter/pack"
)

// A Seen version is a snapshot that this machine knows was in the repository. All fields but ID are for display.
type Seen struct {
	ID   pack.FileID `json:"id"`
	Name string      `json:"name"`
	Host string      `json:"host"`
	Time time.Time   `json:"time"`
}

// What a machine has seen is a file (see Remember) of JSON. A repository can prove each of its files, but not that none
// is missing. So only a client that remembers can notice hidden or deleted snapshots, or a repository that was taken back
// to an earlier state.
const (
	seenName  = "seen"
	seenMagic = "platterV"
	maxSeen   = 100_000 // maximum versions remembered, the latest ones
)

type seenFile struct {
	Versions []Seen `json:"versions"`
	// Accepted are the missing snapshots that the user accepted as such.
	Accepted []pack.FileID `json:"accepted,omitempty"`
}

// MissingSeen returns the versions that this machine has seen, that are missing, and that no record lists as forgotten.
// They stay missing until Accept. there are the versions in the repository now, which this machine remembers from now
// on. unreadable are snapshots that are there, too, but cannot be read.
func (r *Repo) MissingSeen(ctx context.Context, there []Seen, unreadable []pack.FileID) ([]Seen, error) {
	if !r.Remembers() {
		return nil, nil
	}
	ids := slices.Clone(unreadable)
	for _, v := range there {
		ids = append(ids, v.ID)
	}
	missed, forgotten, err := r.missingSeen(ctx, ids)
	if err != nil {
		return nil, err
	}
	r.reremember(there, forgotten)
	return missed, nil
}

// missingSeen returns the versions that this machine has seen and that are missing, and those that were forgotten.
func (r *Repo) missingSeen(ctx context.Context, there []pack.FileID) (missed []Seen, forgotten []pack.FileID, err error) {
	listed := setOf(there)
	gone := map[pack.FileID]Seen{}
	var ids []pack.FileID
	for _, v := range r.recallSeen().Versions {
		if !listed[v.ID] {
			gone[v.ID] = v
			ids = append(ids, v.ID)
		}
	}
	f, err := r.fates(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range f.missing {
		missed = append(missed, gone[id])
	}
	return missed, f.forgotten, nil
}

// RecordSeen records versions that this machine has put or seen.
func (r *Repo) RecordSeen(versions ...Seen) { r.reremember(versions, nil) }

// DropSeen drops snapshots that this machine has just forgotten from its record. So they never count as missing,
// whatever records the store shows later.
func (r *Repo) DropSeen(ids []pack.FileID) { r.reremember(nil, ids) }

// Accept makes this machine treat the versions in there as all that exist, and the named and missing ones as accepted
// losses. The error comes from this machine's memory.
func (r *Repo) Accept(there []Seen, named []pack.FileID) error {
	f := r.recallSeen()
	listed := map[pack.FileID]bool{}
	for _, v := range there {
		listed[v.ID] = true
	}
	for _, v := range f.Versions {
		named = append(named, v.ID)
	}
	accepted := append(f.Accepted, named...)
	f.Accepted = slices.DeleteFunc(accepted, func(id pack.FileID) bool { return listed[id] })
	f.Versions = there
	return r.rememberSeen(f)
}

func (r *Repo) recallSeen() (f seenFile) {
	if json.Unmarshal(r.Recall(seenName, seenMagic), &f) != nil {
		return seenFile{}
	}
	return f
}

// reremember adds versions to what this machine has seen, and drops others. It starts from the current file, because
// another process may have written it. If the file cannot be written, nothing is remembered, as without a cache; the
// command still does its work.
func (r *Repo) reremember(add []Seen, drop []pack.FileID) {
	if !r.Remembers() {
		return
	}
	f, dropped := r.recallSeen(), setOf(drop)
	known := map[pack.FileID]bool{}
	changed := false
	f.Versions = slices.DeleteFunc(f.Versions, func(v Seen) bool {
		known[v.ID] = true
		changed = changed || dropped[v.ID]
		return dropped[v.ID]
	})
	for _, v := range add {
		if !known[v.ID] && !dropped[v.ID] {
			f.Versions, changed = append(f.Versions, v), true
			known[v.ID] = true
		}
	}
	if changed {
		_ = r.rememberSeen(f)
	}
}

func (r *Repo) rememberSeen(f seenFile) error {
	slices.SortFunc(f.Versions, latestFirst)
	f.Versions = f.Versions[:min(len(f.Versions), maxSeen)]
	slices.SortFunc(f.Accepted, func(a, b pack.FileID) int { return bytes.Compare(a[:], b[:]) })
	f.Accepted = slices.Compact(f.Accepted)
	f.Accepted = f.Accepted[:min(len(f.Accepted), maxSeen)]
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return r.Remember(seenName, seenMagic, data)
}

func latestFirst(a, b Seen) int {
	return cmp.Or(b.Time.Compare(a.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

func setOf(ids []pack.FileID) map[pack.FileID]bool {
	set := make(map[pack.FileID]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}
