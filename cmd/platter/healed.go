package main

import "platter/repo"

// warnHealed tells of packs that turned out to be damaged without costing anything this time.
func (e *env) warnHealed(c common, r *repo.Repo) {
	lines := r.Healed()
	for _, line := range lines {
		e.warn(c, "%s", line)
	}
	if len(lines) > 0 {
		e.warn(c, "%s damaged in the repository, and could be read all the same; run 'platter repair packs'", isAre(len(lines), "pack"))
	}
}
