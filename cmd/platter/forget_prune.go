package main

import (
	"context"
	"errors"

	"platter/repo"
)

// pruneAfterForget prunes once versions are forgotten, prints as 'prune' does unless c.json, and returns what 'prune --json'
// prints.
func pruneAfterForget(context.Context, *env, common, *repo.Repo) (any, error) {
	return nil, errors.New("prune: not there yet")
}
