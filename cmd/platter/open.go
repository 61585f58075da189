package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/store"
	"platter/snapshot"
)

// openStore returns the store that --repo names. Whether anything is there is for others to find out.
func openStore(env *env, c common) (store.Store, error) { return storeBy(env, localStore, c) }

func localStore(folder string) (store.Store, error) { return store.OpenLocal(folder, repo.Layout{}) }

// storeBy is openStore with another way of opening a folder.
func storeBy(env *env, open func(folder string) (store.Store, error), c common) (store.Store, error) {
	if c.repo == "" {
		return nil, usagef("no repository given: use --repo (-r) or set PLATTER_REPOSITORY")
	}
	if err := localPath("repository", c.repo); err != nil {
		return nil, err
	}
	if err := localPath("--cache-dir", c.cacheDir); err != nil && !c.noCache {
		return nil, err
	}
	s, err := open(c.repo)
	if err != nil {
		return nil, openError(c, err)
	}
	env.opened.add(s)
	if s, ok := store.As[store.Warner](s); ok {
		s.Warn(func(text string) { env.warn(c, "%s: %s", c.repo, text) })
	}
	if c.dryRun {
		return store.DryRun{Store: s}, nil
	}
	return s, nil
}

// openRepo unlocks the repository. Its index is not read yet: see openSnapshots.
func openRepo(ctx context.Context, env *env, c common) (*repo.Repo, error) {
	s, err := storeBy(env, env.openFolder, c)
	if err != nil {
		return nil, err
	}
	// Nobody should have to type a password to learn that the NAS is not mounted.
	if err := repo.Find(ctx, s); err != nil {
		return nil, openError(c, err)
	}
	password, err := env.password(ctx, c.password)
	if err != nil {
		return nil, err
	}
	return openWith(ctx, env, c, s, password)
}

// openWith unlocks a repository with a password, in the first of its readings that fits.
func openWith(ctx context.Context, env *env, c common, s store.Store, password []byte) (*repo.Repo, error) {
	var r *repo.Repo
	var err error
	for _, reading := range readings(password) {
		if r, err = repo.Open(ctx, s, reading); !errors.Is(err, crypt.ErrWrongPassword) {
			break
		}
	}
	if err != nil {
		return nil, openError(c, err)
	}
	env.opened.add(r)
	if c.grace >= 0 {
		r.SetGrace(c.grace)
	}
	if fault := r.ConfigFault(); fault != nil && !c.noFault {
		env.warn(c, "%v; a copy of it was used. 'platter repair config' writes it again", fault)
	}
	if folder := cacheFolder(env, c); folder != "" {
		if c.memoryOnly {
			r.UseMemory(folder)
		} else {
			r.UseCache(folder)
		}
		env.watchLocation(c, r, folder)
	}
	return r, nil
}

// cacheFolder is where to keep what is read often; "" for nowhere.
func cacheFolder(env *env, c common) string {
	switch {
	case c.noCache:
		return ""
	case c.cacheDir != "":
		return c.cacheDir
	}
	folder, err := env.cacheDir()
	if err != nil {
		return "" // a user without a home has no cache
	}
	return filepath.Join(folder, "platter")
}

// openSnapshots unlocks the repository for commands that read disks: all its snapshots that can be read, oldest first,
// and then the index, which lists what they are made of because it was read after them.
func openSnapshots(ctx context.Context, env *env, c common) (*repo.Repo, []*snapshot.Snapshot, error) {
	r, err := openRepo(ctx, env, c)
	if err != nil {
		return nil, nil, err
	}
	all, err := readSnapshots(ctx, env, r, c)
	return r, all, err
}

// readSnapshots reads the snapshots of an open repository, and then the index.
func readSnapshots(ctx context.Context, env *env, r *repo.Repo, c common) ([]*snapshot.Snapshot, error) {
	all, err := loadSnapshots(ctx, env, r, c)
	if err != nil {
		return nil, err
	}
	if err := r.LoadIndex(ctx); err != nil {
		return nil, openError(c, err)
	}
	gone := 0
	for _, p := range r.Index().Packs() {
		if p.Gone {
			gone++
		}
	}
	if gone > 0 {
		env.warn(c, "%s missing or of another length; run 'platter check' to learn what that costs", isAre(gone, "pack"))
	}
	limitMemory(parityMemory(r)) // anew: an index is as large as its repository
	return all, nil
}

func openError(c common, err error) error {
	if errors.Is(err, repo.ErrNoRepository) {
		return fmt.Errorf("open %s: %w; is it mounted? 'platter init' makes a new one", c.repo, err)
	}
	return fmt.Errorf("open %s: %w", c.repo, err)
}
