package main

import (
	"context"
	"math"

	"platter/pack"
	"platter/repo"
)

// pruneAfterForget prunes once versions are forgotten, or tells what that would do if those of some ids were. It prints as
// 'prune' does unless c.json, and returns what 'prune --json' prints.
func pruneAfterForget(ctx context.Context, env *env, c common, r *repo.Repo, forgotten []pack.FileID) (any, error) {
	o := pruneOptions{common: c, maxUnused: defaultUnused, maxRepack: math.MaxInt64, without: forgotten}
	done, err := prune(ctx, env, o, r)
	if err != nil {
		return nil, err
	}
	return done, pruned(done)
}
