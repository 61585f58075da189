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

// A Seen version is a snapshot that this machine knows was in the repository. All but the ID is for people.
type Seen struct {
	ID   pack.FileID `json:"id"`
	Name string      `json:"name"`
	Host string      `json:"host"`
	Time time.Time   `json:"time"`
}

// What a machine has seen is a file (see Remember) of JSON. A repository proves what was kept and not that this is all, so a
// client that remembers is the only one to notice that snapshots are hidden, or lost, or that all was taken back to an
// earlier state.
const (
	seenName  = "seen"
	seenMagic = "platterV"
	maxSeen   = 100_000 // versions remembered; of more, the latest
)

type seenFile struct {
	Versions []Seen `json:"versions"`
	// Accepted are snapshots that are missing, and that Accept has taken for gone.
	Accepted []pack.FileID `json:"accepted,omitempty"`
}

// MissingSeen returns the versions that this machine has seen, that are missing, and that no record says were forgotten.
// They stay missing until Accept. there are those that are in the repository now, which it remembers from now on; unreadable
// are in it too, and nobody can tell what they are.
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

// missingSeen returns what this machine has seen and is missing, and those of it that were forgotten.
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

// DropSeen drops snapshots that this machine has just forgotten from its record, so that they are not missing later, whatever
// records the NAS shows.
func (r *Repo) DropSeen(ids []pack.FileID) { r.reremember(nil, ids) }

// Accept makes this machine take what is there now for all there is, and the snapshots that others name for gone. The error
// is of what it remembers with.
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

// reremember adds versions to what this machine has seen, and drops some. It goes by the file as it is now, since another
// process may have written it. Where it cannot be written there is no memory, as there is no cache then: what a command was
// asked for is done all the same.
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
