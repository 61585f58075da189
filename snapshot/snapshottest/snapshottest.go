// Package snapshottest has what tests of disks in repositories share.
package snapshottest

import (
	"context"
	"testing"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
)

// Repo makes a repository with small packs.
func Repo(t testing.TB, s store.Store) *repo.Repo {
	t.Helper()
	settings := repo.DefaultSettings
	settings.PackSize = 4 << 20
	r, err := repo.Init(context.Background(), s, []byte("pw"), crypt.Cost{Time: 1, Memory: 64, Lanes: 1}, "", settings)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Reopen opens a repository that Repo made, with its index.
func Reopen(t testing.TB, s store.Store) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), s, []byte("pw"))
	if err == nil {
		err = r.LoadIndex(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}
