package main

import "platter/repo"

// warnHealed warns of damaged packs whose data could be read all the same.
func (e *env) warnHealed(c common, r *repo.Repo) {
	lines := r.Healed()
	for _, line := range lines {
		e.warn(c, "%s", line)
	}
	if len(lines) > 0 {
		e.warn(c, "%s damaged in the repository, but could be read all the same; run 'platter repair packs'", isAre(len(lines), "pack"))
	}
}
