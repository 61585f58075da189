package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
)

// LoadIndex reads every index file, and lists the packs: what lies in a pack that is not there any more is stored again
// when it comes by. It must come before anything that looks chunks up, and after snapshots were listed: chunks of a
// snapshot are in the index before the snapshot is there.
func (r *Repo) LoadIndex(ctx context.Context) error {
	const tries = 3
	for try := 1; ; try++ {
		x, err := r.readIndexes(ctx)
		if err == nil {
			r.writing.Lock()
			defer r.writing.Unlock()
			r.index, r.stale = x, false
			return nil
		}
		// Between listing and reading, somebody may have put one index file in the place of several.
		if !gone(err) || try == tries {
			if errors.Is(err, pack.ErrDamaged) {
				return fmt.Errorf("load index: %w; 'repair index' makes it anew from the packs", err)
			}
			return fmt.Errorf("load index: %w", err)
		}
	}
}

func (r *Repo) readIndexes(ctx context.Context) (*index.Index, error) {
	// Packs first: one that comes after this listing is taken for gone, and at worst stored again.
	packs, err := list(ctx, r.store, packsDir)
	if err != nil {
		return nil, err
	}
	sizes := make(map[pack.ID]int64, len(packs))
	for _, p := range packs {
		sizes[p.id] = p.size
	}
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
					size, ok := sizes[p.ID]
					p.Gone = !ok || size != p.Size
					x.AddPack(p.Pack, p.Table)
				}
			}
			return nil
		})
		if err != nil || !anyOf(files, superseded, before) {
			r.orphans = slices.DeleteFunc(packs, func(p listed) bool { return x.HasPack(p.id) })
			return x, err
		}
	}
}

// Adopt takes in packs that LoadIndex found in no index file: what a backup had stored before it was killed. It returns how
// many. Packs that cannot be read stay where they are, for Check to count.
func (r *Repo) Adopt(ctx context.Context) (int, error) {
	if err := r.writable(); err != nil || len(r.orphans) == 0 {
		return 0, err
	}
	unreadable := func(listed, error) (*index.PackTable, error) { return nil, nil }
	tables, err := r.tables(ctx, r.orphans, unreadable, nil)
	if err != nil || len(tables) == 0 {
		return 0, err
	}
	if _, err := r.putIndexes(ctx, tables, nil); err != nil {
		return 0, err
	}
	for _, t := range tables {
		r.index.AddPack(t.Pack, t.Table)
	}
	r.orphans = nil
	return len(tables), nil
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

// putIndexes stores tables in as many index files as they need. The last one supersedes older files: until all are there,
// those count.
func (r *Repo) putIndexes(ctx context.Context, tables []index.PackTable, supersedes []pack.ID) (files []pack.ID, err error) {
	for len(tables) > 0 || len(files) == 0 && len(supersedes) > 0 {
		n := 0
		for n < len(tables) && !fullIndex(tables[:n]) {
			n++
		}
		f := &index.File{Packs: tables[:n]}
		if tables = tables[n:]; len(tables) == 0 {
			f.Supersedes = supersedes
		}
		id, _, err := r.putIndex(ctx, f)
		if err != nil {
			return nil, err
		}
		files = append(files, id)
	}
	return files, nil
}

// putIndex stores an index file and returns how many bytes it takes.
func (r *Repo) putIndex(ctx context.Context, f *index.File) (pack.ID, int64, error) {
	sealed := crypt.NewBox(r.master, crypt.Indexes, r.id).SealInPlace(f.Encode(pack.NonceSize, pack.TagSize))
	return putNamed(ctx, r.store, indexDir, pack.IndexFile, sealed)
}
