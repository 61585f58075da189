package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
)

// A Verdict is the result of a test of a snapshot: whether its disk boots. It is for people. Nothing depends on it.
type Verdict struct {
	ID       pack.FileID `json:"-"` // the name of the verdict's file
	Snapshot pack.FileID `json:"snapshot"`
	Test     string      `json:"test"` // what was tested; see BootTest
	Passed   bool        `json:"passed"`
	Reason   string      `json:"reason"`  // what was seen, for people
	Time     time.Time   `json:"time"`    // when the test ended, by the clock of the machine that ran it
	Seconds  float64     `json:"seconds"` // how long it took
	Host     string      `json:"host"`    // the machine that ran it
	Platter  string      `json:"platter"` // version of the program
}

// BootTest is the test that a disk boots.
const BootTest = "boot"

// maxReason is the maximum length of a Verdict's reason in bytes.
const maxReason = 2000

// PutVerdict stores the result of a test, durably, and then deletes older results of the same test of the same snapshot.
// It fills in the verdict's time and host if they are not set. A crash between the two leaves both; the newer one counts.
func (r *Repo) PutVerdict(ctx context.Context, v Verdict) error {
	if err := r.writable(); err != nil {
		return err
	}
	if v.Time.IsZero() {
		v.Time = r.now()
	}
	v.Time = v.Time.UTC().Truncate(time.Second)
	if v.Host == "" {
		v.Host, _ = os.Hostname() // for people to read
	}
	v.Reason = v.Reason[:min(len(v.Reason), maxReason)]
	id, err := r.putJSON(ctx, layout.Verdicts, pack.VerdictFile, crypt.Verdicts, v)
	if err != nil {
		return fmt.Errorf("store the result of a test: %w", err)
	}
	all, _, err := r.Verdicts(ctx)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old.ID == id || old.Snapshot != v.Snapshot || old.Test != v.Test || old.Time.After(v.Time) {
			continue
		}
		if err := r.view().store.Delete(ctx, layout.Name(layout.Verdicts, old.ID)); err != nil && !layout.IsMissing(err) {
			return fmt.Errorf("delete an older result of a test: %w", err)
		}
	}
	return nil
}

// Verdicts returns all results of tests, the oldest first. bad has an error for each that is damaged, which names its file.
func (r *Repo) Verdicts(ctx context.Context) (all []Verdict, bad []error, err error) {
	files, err := layout.List(ctx, r.view().store, layout.Verdicts)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.workers) // most of the time is spent waiting for the store
	for _, f := range files {
		g.Go(func() error {
			v, err := r.readVerdict(gctx, f.ID)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				all = append(all, v)
			case layout.IsMissing(err): // a newer one replaced it
			case !layout.IsPermanent(err):
				return err
			default:
				bad = append(bad, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b Verdict) int { return cmp.Or(a.Time.Compare(b.Time), bytes.Compare(a.ID[:], b.ID[:])) })
	return all, bad, nil
}

func (r *Repo) readVerdict(ctx context.Context, id pack.FileID) (v Verdict, err error) {
	plain, err := r.openNamed(ctx, layout.Verdicts, id, pack.VerdictFile, crypt.Verdicts, layout.MaxVerdict)
	if err == nil {
		err = unmarshal(plain, layout.Name(layout.Verdicts, id), &v)
	}
	v.ID = id
	return v, err
}

// deleteVerdicts deletes results of tests of snapshots that are not listed, and damaged results. It leaves those that are
// younger than cutoff: the snapshot may be younger than the listing.
func (p *pruner) deleteVerdicts(ctx context.Context, cutoff time.Time) error {
	files, err := layout.List(ctx, p.repo.view().store, layout.Verdicts)
	if err != nil || len(files) == 0 {
		return err
	}
	snapshots, err := p.repo.ListSnapshots(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !f.Time.Before(cutoff) {
			continue
		}
		v, err := p.repo.readVerdict(ctx, f.ID)
		if err == nil && slices.Contains(snapshots, v.Snapshot) || err != nil && !errors.Is(err, pack.ErrDamaged) {
			continue // it is needed, or cannot be read now
		}
		if err := p.repo.view().store.Delete(ctx, layout.Name(layout.Verdicts, f.ID)); err != nil && !layout.IsMissing(err) {
			return err
		}
	}
	return ctx.Err()
}
