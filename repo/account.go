package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// ErrUnaccounted says that snapshots are missing and that no record says they were forgotten; see UnaccountedError.
var ErrUnaccounted = errors.New("snapshots are missing, although they were not forgotten")

// An UnaccountedError says which snapshots are missing. If it names none, there is no snapshot at all, though there are
// packs.
type UnaccountedError struct {
	Seen   []Seen        // seen by this machine; they count as missing until Accept
	Before []pack.FileID // named by other snapshots as the version before them
	Here   []pack.FileID // present when the work began
	Packs  Amount        // needed by no snapshot, though no record says that one was forgotten
}

func (e *UnaccountedError) Error() string {
	const back = "nothing was deleted; put their files back in snapshots/ (from lost+found, a copy, the NAS's own snapshots)"
	switch {
	case len(e.Seen) > 0:
		return fmt.Sprintf("%v, and this machine has seen them: %s; %s. If you removed them yourself, run 'platter snapshots --accept'",
			ErrUnaccounted, listSome(len(e.Seen), func(i int) string {
				v := e.Seen[i]
				return fmt.Sprintf("%.8s of %s (%s)", v.ID, v.Name, v.Time.Local().Format(time.DateTime))
			}), back)
	case len(e.Before) > 0:
		return fmt.Sprintf("%v, and others name them as their predecessors: %s; %s. If they cannot be put back, 'platter prune --yes' continues",
			ErrUnaccounted, shortIDs(e.Before), back)
	case e.Packs.Packs > 0:
		return fmt.Sprintf("more than half of the data would be deleted, %d packs with %d bytes, although no snapshot was ever forgotten: "+
			"snapshots may be missing. If so, %s. If these packs are of backups that never ended, 'platter prune --yes' continues", e.Packs.Packs, e.Packs.Bytes, back)
	case len(e.Here) > 0:
		return fmt.Sprintf("%v, and that were listed a moment ago: %s; %s", ErrUnaccounted, shortIDs(e.Here), back)
	}
	return fmt.Sprintf("there are packs but no snapshots, and no record says that the snapshots were forgotten; %s. "+
		"If no backup ever ended here, or all data may be deleted, 'platter prune --yes' continues", back)
}

// Is makes an UnaccountedError match ErrUnaccounted.
func (e *UnaccountedError) Is(target error) bool { return target == ErrUnaccounted }

func shortIDs(ids []pack.FileID) string {
	return listSome(len(ids), func(i int) string { return ids[i].String()[:8] })
}

// listSome lists the first 5 of n things and counts the rest.
func listSome(n int, word func(int) string) string {
	const some = 5
	var words []string
	for i := range min(n, some) {
		words = append(words, word(i))
	}
	if n > some {
		words = append(words, fmt.Sprintf("and %d more", n-some))
	}
	return strings.Join(words, ", ")
}

// fates say what became of snapshots that no listing showed, or that were missing when read.
type fates struct {
	forgotten []pack.FileID // a record says so
	there     []pack.FileID // can be read, although the listing did not show them
	missing   []pack.FileID
	failed    error // why a snapshot in missing could not be read, if not because it is missing
}

// fates finds out what became of snapshots. Only a record explains a missing snapshot: a listing may be old, and a
// store may have lost the file.
func (r *Repo) fates(ctx context.Context, ids []pack.FileID) (f fates, err error) {
	if len(ids) == 0 {
		return f, nil
	}
	forgotten, err := r.Forgotten(ctx, ids)
	if err != nil {
		return f, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.workers) // small reads mostly wait for the store
	there := map[pack.FileID]bool{}
	for _, id := range ids {
		if forgotten[id] {
			continue
		}
		g.Go(func() error {
			_, err := r.uncached().Get(gctx, layout.Name(layout.Snapshots, id), 0, 1)
			mu.Lock()
			defer mu.Unlock()
			if there[id] = err == nil; err != nil && !layout.IsMissing(err) {
				f.failed = cmp.Or(f.failed, err)
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return f, err
	}
	for _, id := range ids {
		switch {
		case forgotten[id]:
			f.forgotten = append(f.forgotten, id)
		case there[id]:
			f.there = append(f.there, id)
		default:
			f.missing = append(f.missing, id)
		}
	}
	return f, nil
}

// uncached returns the store without the cache.
func (r *Repo) uncached() store.Store {
	if c := r.cached(); c != nil {
		return c.Unwrap()
	}
	return r.view().store
}

// NotForgotten returns the snapshots among ids that no record lists as forgotten.
func (r *Repo) NotForgotten(ctx context.Context, ids []pack.FileID) ([]pack.FileID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	forgotten, err := r.Forgotten(ctx, ids)
	return slices.DeleteFunc(slices.Clone(ids), func(id pack.FileID) bool { return forgotten[id] }), err
}
