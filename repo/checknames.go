package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// CheckNames compares the bytes of every file with its name, if its name is its file ID. It checks parity files by
// their own sums. It needs no key, so it can run where no key should be, for example on the server that holds the
// store. Damage goes into the report. Only a run with a key can tell what the damage costs.
func CheckNames(ctx context.Context, s store.Store, workers int, p *Progress) (*Report, error) {
	if err := Find(ctx, s); err != nil {
		return nil, err
	}
	report := new(Report)
	if err := report.checkConfigs(ctx, s); err != nil {
		return nil, err
	}
	there, err := listParity(ctx, s)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, workers))
	var missing []string
	for _, dir := range []string{layout.Keys, layout.Packs, layout.Index, layout.Snapshots, layout.Work, layout.Forgotten, layout.Verdicts} {
		files, err := layout.List(ctx, s, dir)
		if err != nil {
			return nil, err
		}
		report.count(dir, files)
		for _, f := range files {
			p.Expect(f.Size)
			g.Go(func() error {
				name := layout.Name(dir, f.ID)
				if dir == layout.Packs {
					name = layout.PackName(f.ID)
				}
				err := layout.Verify(gctx, s, name, f.ID, p.Add)
				if errors.Is(err, pack.ErrDamaged) {
					err = fmt.Errorf("%s: %w", name, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if dir == layout.Packs {
					report.PacksRead++
				}
				if report.ReadBytes += f.Size; layout.IsMissing(err) {
					missing = append(missing, name)
				} else if err != nil {
					report.Damage = append(report.Damage, err.Error())
				}
				return gctx.Err()
			})
		}
	}
	for id, size := range there.parity {
		report.Parity, report.ParityBytes = report.Parity+1, report.ParityBytes+size
		p.Expect(size)
		g.Go(func() error {
			err := checkParity(gctx, s, id)
			p.Add(size)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && !layout.IsMissing(err) { // a parity file is deleted with its pack
				report.Damage = append(report.Damage, err.Error())
			}
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := report.listedStill(ctx, s, missing); err != nil {
		return nil, err
	}
	slices.Sort(report.Damage)
	if len(report.Damage) > 0 {
		report.Hints = append(report.Hints, hintCopy, "run 'platter check --read-data' with a password to learn which versions and which byte ranges that costs")
	}
	return report, nil
}

// checkConfigs reads the config and its copy, and reports their faults. The copy may be missing.
func (r *Report) checkConfigs(ctx context.Context, s store.Store) error {
	for _, name := range []string{layout.Config, layout.ConfigCopy} {
		file, err := readConfigAs(ctx, s, name)
		if err != nil {
			return err
		}
		if errors.Is(file.fault, pack.ErrNewer) {
			return file.fault
		}
		if file.fault != nil && !(name == layout.ConfigCopy && file.missing()) {
			r.Damage = append(r.Damage, file.fault.Error())
			r.Advise(HintConfig)
		}
	}
	return nil
}

// listedStill reports files that were missing when they were read and are still listed. A prune deleted the others.
func (r *Report) listedStill(ctx context.Context, s store.Store, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	for f, err := range s.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
		if slices.Contains(missing, f.Name) {
			r.Damage = append(r.Damage, fmt.Sprintf("%s: it is listed, but reading it fails as if it did not exist", f.Name))
		}
	}
	return nil
}

func (r *Report) count(dir string, files []layout.File) {
	switch dir {
	case layout.Keys:
		r.Slots = len(files)
	case layout.Index:
		r.Indexes = len(files)
	case layout.Snapshots:
		r.Snapshots = len(files)
	case layout.Packs:
		r.Packs = len(files)
		for _, f := range files {
			r.PackBytes += f.Size
		}
	}
}
