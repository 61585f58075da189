package main

import (
	"context"
	"math"

	"platter/pack"
	"platter/repo"
)

// pruneAfterForget prunes after versions were forgotten. In a dry run it reports what prune would do without them. It prints what
// 'prune' prints unless c.json is set, and returns what 'prune --json' prints.
func pruneAfterForget(ctx context.Context, env *env, c common, r *repo.Repo, forgotten []pack.FileID) (any, error) {
	o := pruneOptions{common: c, maxUnused: defaultUnused, maxRepack: math.MaxInt64, without: forgotten}
	done, err := prune(ctx, env, o, r)
	if err != nil {
		return nil, err
	}
	return done, pruned(done)
}
