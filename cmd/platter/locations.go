package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"platter/repo"
)

// locationsName is the file in the cache that says which repository was at which path, by absolute paths as they were given. It is
// about what a NAS may do, so nothing proves it against others on this machine.
const locationsName = "locations"

// A place is which repository was at a path, and when this machine last opened it.
type place struct {
	ID   string    `json:"id"`
	Seen time.Time `json:"seen"` // zero where an older platter wrote the file
}

// UnmarshalJSON also takes what older platters wrote, the id alone.
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

// setLocation remembers which repository is at a path. Where it cannot, there is no memory.
func setLocation(folder, location string, p place) error {
	known := readLocations(folder) // anew: another process may have written it
	known[location] = p
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	if err := repo.MakeCache(folder, folder); err != nil {
		return err
	}
	return repo.ReplaceFile(filepath.Join(folder, locationsName), append(data, '\n'))
}

func location(c common) string {
	if abs, err := filepath.Abs(c.repo); err == nil {
		return abs
	}
	return c.repo
}

// here is what there is to remember of an open repository. Its time is as coarse as those in configs.
func (e *env) here(r *repo.Repo) place { return place{r.ID(), e.now().UTC().Truncate(time.Second)} }

// watchLocation raises the alarm where another repository was when this machine last looked. One that was made after that is only
// worth a warning, once: whoever made it knows the password, while a NAS can only bring back what was there before.
func (e *env) watchLocation(c common, r *repo.Repo, folder string) {
	at, now := location(c), e.here(r)
	switch known, ok := readLocations(folder)[at]; {
	case !ok, known.ID == now.ID && now.Seen.Sub(known.Seen) > time.Minute:
		_ = setLocation(folder, at, now)
	case known.ID == now.ID:
	case !known.Seen.IsZero() && !r.Config().Created.Before(known.Seen):
		e.warn(c, "the repository in %s is a new one (%.8s), made at %s; when this machine last looked it was another (%.8s), and what that one held is not here",
			at, now.ID, localTime(r.Config().Created), known.ID)
		_ = setLocation(folder, at, now)
	default:
		e.alarm(c, "another repository (%.8s) lies in %s than when this machine last looked (%.8s), though the same password opens it. "+
			"Do not back up there before you know why. If it is right, 'platter snapshots --accept' says so", now.ID, at, known.ID)
	}
}

// newLocation remembers that a repository was made where another one was. Of one that was nowhere before, there is nothing
// to remember yet.
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
