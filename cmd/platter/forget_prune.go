package main

import (
	"context"
	"math"

	"platter/repo"
)

// pruneAfterForget prunes once versions are forgotten, prints as 'prune' does unless c.json, and returns what 'prune --json'
// prints.
func pruneAfterForget(ctx context.Context, env *env, c common, r *repo.Repo) (any, error) {
	done, err := prune(ctx, env, pruneOptions{common: c, maxUnused: defaultUnused, maxRepack: math.MaxInt64, grace: -1}, r)
	if err != nil {
		return nil, err
	}
	return done, pruned(done)
}
