package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
)

// LoadIndex reads every index file. It must come before anything that looks chunks up.
func (r *Repo) LoadIndex(ctx context.Context) error {
	const tries = 3
	for try := 1; ; try++ {
		x, err := r.readIndexes(ctx)
		if err == nil {
			r.index = x
			return nil
		}
		// Between listing and reading, somebody may have put one index file in the place of several.
		if !gone(err) || try == tries {
			return fmt.Errorf("load index: %w", err)
		}
	}
}

func (r *Repo) readIndexes(ctx context.Context) (*index.Index, error) {
	files, err := list(ctx, r.store, indexDir)
	if err != nil {
		return nil, err
	}
	superseded := map[pack.ID]bool{}
	for {
		x, before := new(index.Index), len(superseded)
		var mu sync.Mutex
		err := r.eachIndex(ctx, files, func(id pack.ID, f *index.File) error {
			mu.Lock()
			skip := superseded[id]
			for _, old := range f.Supersedes {
				superseded[old] = true
			}
			mu.Unlock()
			if !skip {
				for _, p := range f.Packs {
					x.AddPack(p.Pack, p.Table)
				}
			}
			return nil
		})
		if err != nil || !anyOf(files, superseded, before) {
			return x, err
		}
	}
}

// anyOf reports whether files that stand for nothing any more may have been read: more were superseded than were known
// to be when reading began, and one of them is there. That is rare, since whoever supersedes a file deletes it next.
func anyOf(files []listed, superseded map[pack.ID]bool, before int) bool {
	if len(superseded) == before {
		return false
	}
	for _, f := range files {
		if superseded[f.id] {
			return true
		}
	}
	return false
}

// eachIndex reads index files on all cores and hands each to fn. The error names the file.
func (r *Repo) eachIndex(ctx context.Context, files []listed, fn func(pack.ID, *index.File) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.workers)
	for _, f := range files {
		g.Go(func() error {
			decoded, err := r.readIndex(ctx, f.id)
			if err != nil {
				return err
			}
			return fn(f.id, decoded)
		})
	}
	return g.Wait()
}

func (r *Repo) readIndex(ctx context.Context, id pack.ID) (*index.File, error) {
	plain, err := r.openNamed(ctx, indexDir, id, pack.IndexFile, crypt.Indexes, index.MaxFile)
	if err != nil {
		return nil, err
	}
	f, err := index.Decode(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(indexDir, id), err)
	}
	return f, nil
}

// putIndex stores an index file and returns how many bytes it takes.
func (r *Repo) putIndex(ctx context.Context, f *index.File) (pack.ID, int64, error) {
	plain := f.AppendTo(make([]byte, 0, f.EncodedSize()))
	return putNamed(ctx, r.store, indexDir, pack.IndexFile, crypt.NewBox(r.master, crypt.Indexes, r.id).Seal(plain))
}
