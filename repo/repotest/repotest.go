// Package repotest makes and opens repositories for tests of what is above package repo. What such tests do to the
// files below a repository is in package storetest.
package repotest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// Password opens the repositories that New makes.
const Password = "pw"

// Cost is a cost of passwords that lets tests open hundreds of repositories.
func Cost() crypt.Cost { return crypt.Cost{Time: 1, Memory: 64, Lanes: 1} }

// New makes a repository in an empty store.
func New(t testing.TB, s store.Store, settings repo.Settings) *repo.Repo {
	t.Helper()
	r, err := repo.Init(context.Background(), s, []byte(Password), Cost(), "", settings)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Open opens a repository that New made, without its index.
func Open(t testing.TB, s store.Store) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), s, []byte(Password))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Packs returns the names of the packs among files, sorted, without parity files.
func Packs(files map[string][]byte) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool {
		return layout.Dir(name) != layout.Packs || strings.HasSuffix(name, layout.ParityEnd)
	})
}
