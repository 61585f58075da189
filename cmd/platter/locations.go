package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"platter/index"
	"platter/repo"
	"platter/snapshot"
)

// locationsName is the file in the cache that records which repository was at which absolute path. It guards against the NAS, not
// against other programs on this machine, so nothing authenticates it.
const locationsName = "locations"

// A place records which repository was at a path, and when this machine last opened it.
type place struct {
	ID   string    `json:"id"`
	Seen time.Time `json:"seen"` // zero if an older platter wrote the file
}

// UnmarshalJSON also reads what older platters wrote: the ID alone.
func (p *place) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &p.ID) == nil {
		return nil
	}
	type plain place
	return json.Unmarshal(data, (*plain)(p))
}

func readLocations(folder string) map[string]place {
	known := map[string]place{}
	data, err := os.ReadFile(filepath.Join(folder, locationsName))
	if err != nil || json.Unmarshal(data, &known) != nil || known == nil {
		return map[string]place{}
	}
	return known
}

// setLocation records which repository is at a path.
func setLocation(folder, location string, p place) error {
	known := readLocations(folder) // again: another process may have written it
	known[location] = p
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	if err := repo.MakeCache(folder, folder); err != nil {
		return err
	}
	return index.ReplaceFile(filepath.Join(folder, locationsName), append(data, '\n'), true)
}

func location(c common) string {
	if abs, err := filepath.Abs(c.repo); err == nil {
		return abs
	}
	return c.repo
}

// here is the place of an open repository. Its time is in whole seconds, like those in configs.
func (e *env) here(r *repo.Repo) place { return place{r.ID(), e.now().UTC().Truncate(time.Second)} }

// watchLocation raises the alarm if another repository was at this path before. A repository that was created since then gets one
// warning only: its creator knows the password, while a NAS can only bring back older state.
func (e *env) watchLocation(c common, r *repo.Repo, folder string) {
	at, now := location(c), e.here(r)
	known, ok := readLocations(folder)[at]
	var before *snapshot.Place
	if ok {
		before = &snapshot.Place{ID: known.ID, Seen: known.Seen}
	}
	switch snapshot.ComparePlace(before, now.ID, r.Config().Created) {
	case snapshot.PlaceKnown:
		if !ok || now.Seen.Sub(known.Seen) > time.Minute {
			_ = setLocation(folder, at, now)
		}
	case snapshot.PlaceNew:
		e.warn(c, "the repository in %s is a new one (%.8s), created at %s; when this machine last looked it was another (%.8s), whose versions are not in it",
			at, now.ID, localTime(r.Config().Created), known.ID)
		_ = setLocation(folder, at, now)
	case snapshot.PlaceReplaced:
		e.alarm(c, "another repository (%.8s) is in %s than when this machine last looked (%.8s), and the same password opens it. "+
			"Find out why before you back up to it. If it is the right one, run 'platter snapshots --accept'", now.ID, at, known.ID)
	}
}

// newLocation records that a repository was created where another one was, and warns. A path without an entry needs none yet.
func (e *env) newLocation(c common, r *repo.Repo) {
	folder, at := cacheFolder(e, c), location(c)
	if folder == "" {
		return
	}
	if known, ok := readLocations(folder)[at]; ok && known.ID != r.ID() {
		e.warn(c, "there was another repository (%.8s) in %s when this machine last looked; the new one is empty", known.ID, at)
		_ = setLocation(folder, at, e.here(r))
	}
}
