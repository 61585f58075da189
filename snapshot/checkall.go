package snapshot

import (
	"context"

	"platter/repo"
)

// A CheckResult is what CheckAll found.
type CheckResult struct {
	*Loaded
	Report *repo.Report // about files; includes packs that healed while maps were read
	Losses []Loss       // of the snapshots that can be read
}

// CheckAllOptions select what to check. The functions may be nil.
type CheckAllOptions struct {
	repo.CheckOptions
	Loaded func(*Loaded)                             // called after the snapshots are loaded: the rest may take days
	Review func(context.Context, *CheckResult) error // called at the end, under the lease if there is one
}

// CheckAll checks a repository while backups and a prune may run: first its files, then what each version has lost.
//
// It loads the snapshots first, so that the index, which it reads later, lists all their chunks. If the check reads all
// data and may write, it holds a lease to show others that it is at work.
func CheckAll(ctx context.Context, r *repo.Repo, o CheckAllOptions, p *repo.Progress) (*CheckResult, error) {
	if !o.ReadData || o.ReadOnly {
		return checkAll(ctx, r, o, p)
	}
	var result *CheckResult
	err := r.Reading(ctx, repo.Checking, nil, func(ctx context.Context) (err error) {
		result, err = checkAll(ctx, r, o, p)
		return err
	})
	return result, err
}

func checkAll(ctx context.Context, r *repo.Repo, o CheckAllOptions, p *repo.Progress) (*CheckResult, error) {
	loaded, err := LoadSeen(ctx, r)
	if err != nil {
		return nil, err
	}
	if o.Loaded != nil {
		o.Loaded(loaded)
	}
	report, err := r.Check(ctx, o.CheckOptions, p)
	if err != nil {
		return nil, err
	}
	losses, err := CheckMapsBeside(ctx, r, loaded.Snapshots, report)
	if err != nil {
		return nil, err
	}
	report.AddHealed(r.Healed()) // reading the maps may have healed some damage
	for _, loss := range losses {
		if loss.Missing {
			report.Advise(repo.HintIndex)
		}
	}
	result := &CheckResult{loaded, report, losses}
	if o.Review != nil {
		err = o.Review(ctx, result)
	}
	return result, err
}
