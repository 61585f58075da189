// Package snapshottest has what tests of disks in repositories share.
package snapshottest

import (
	"context"
	"testing"

	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
)

// Repo makes a repository with small packs.
func Repo(t testing.TB, s store.Store) *repo.Repo {
	t.Helper()
	settings := repo.DefaultSettings
	settings.PackSize = 4 << 20
	return repotest.New(t, s, settings)
}

// Reopen opens a repository that Repo made, with its index.
func Reopen(t testing.TB, s store.Store) *repo.Repo {
	t.Helper()
	r := repotest.Open(t, s)
	if err := r.LoadIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}
