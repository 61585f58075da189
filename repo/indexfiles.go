package repo

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
)

// indexesInMemory limits the index files that are read at once, in bytes. Decoded, they take about three times as much.
const indexesInMemory = 24 << 20

// eachIndex reads index files on all cores and passes each to fn. It reads more small files at once, because they
// mostly wait for the store. The error names the file.
func (r *Repo) eachIndex(ctx context.Context, files []layout.File, fn func(pack.FileID, *index.File) error) error {
	room := semaphore.NewWeighted(indexesInMemory)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.workers)
	for _, f := range files {
		g.Go(func() error {
			bytes := min(f.Size, indexesInMemory)
			if err := room.Acquire(ctx, bytes); err != nil {
				return err
			}
			defer room.Release(bytes)
			decoded, err := r.readIndex(ctx, f.ID)
			if err != nil {
				return err
			}
			return fn(f.ID, decoded)
		})
	}
	return g.Wait()
}

func (r *Repo) readIndex(ctx context.Context, id pack.FileID) (*index.File, error) {
	plain, err := r.openNamed(ctx, layout.Index, id, pack.IndexFile, crypt.Indexes, index.MaxFile)
	if err != nil {
		return nil, err
	}
	f, err := index.Decode(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.Name(layout.Index, id), err)
	}
	return f, nil
}

// putIndexes stores tables in as many index files as they need. The last file supersedes the older ones, so those count
// until all new files are there.
func (r *Repo) putIndexes(ctx context.Context, tables []index.PackTable, supersedes []pack.FileID, full func([]index.PackTable) bool) (files []layout.File, err error) {
	for len(tables) > 0 || len(files) == 0 && len(supersedes) > 0 {
		n := 0
		for n < len(tables) && !full(tables[:n]) {
			n++
		}
		f := &index.File{Packs: tables[:n]}
		if tables = tables[n:]; len(tables) == 0 {
			f.Supersedes = supersedes
		}
		id, size, err := r.putIndex(ctx, f)
		if err != nil {
			return nil, err
		}
		r.view().files.add(id, size)
		files = append(files, layout.File{ID: id, Size: size})
	}
	return files, nil
}

// putIndex stores an index file and returns its length in bytes. Like a snapshot, the file gets its name only if the
// lease was not lost. A process that ended the lease has deleted packs that no index file listed.
func (r *Repo) putIndex(ctx context.Context, f *index.File) (pack.FileID, int64, error) {
	sealed := crypt.NewBox(r.master, crypt.Indexes, r.id).SealInPlace(f.Encode(pack.NonceSize, pack.TagSize))
	file := append(pack.Header(pack.IndexFile), sealed...)
	id := pack.Sum(file)
	return id, int64(len(file)), r.commit(ctx, file, layout.Name(layout.Index, id))
}
