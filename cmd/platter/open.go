package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"platter/repo"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/snapshot"
)

// openStore returns the store that --repo names. It does not look whether a repository is there.
func openStore(env *env, c common) (store.Store, error) { return storeBy(env, localStore, c) }

func localStore(folder string) (store.Store, error) { return store.OpenLocal(folder, layout.Names{}) }

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

// openRepo unlocks the repository. It does not read the index: see openSnapshots.
func openRepo(ctx context.Context, env *env, c common) (*repo.Repo, error) {
	s, err := storeBy(env, env.openFolder, c)
	if err != nil {
		return nil, err
	}
	// Checked before platter asks for the password: if the NAS is not mounted, a password is useless.
	if err := repo.Find(ctx, s); err != nil {
		return nil, openError(c, err)
	}
	password, err := env.password(ctx, c.password)
	if err != nil {
		return nil, err
	}
	return openWith(ctx, env, c, s, password)
}

// openWith unlocks a repository with the first reading of the password that matches.
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

// cacheFolder is the folder of the cache; "" for none.
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

// openSnapshots unlocks the repository for commands that read disks. It reads all snapshots that can be read, oldest first, and
// then the index. That order makes the index list all chunks of the snapshots.
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
	missing := 0
	for _, p := range r.Index().Packs() {
		if p.Missing {
			missing++
		}
	}
	if missing > 0 {
		env.warn(c, "%s missing or of the wrong length; run 'platter check' to see what is lost", isAre(missing, "pack"))
	}
	limitMemory(parityMemory(r)) // again: the index grows with the repository
	return all, nil
}

func openError(c common, err error) error {
	if errors.Is(err, repo.ErrNoRepository) {
		return fmt.Errorf("open %s: %w; is it mounted? 'platter init' makes a new one", c.repo, err)
	}
	return fmt.Errorf("open %s: %w", c.repo, err)
}
