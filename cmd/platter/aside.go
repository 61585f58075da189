package main

import (
	"context"
	"fmt"
	"strings"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/heal"
)

// asideJSON is a version that was removed as damaged. Its file is kept aside.
type asideJSON struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Time  string `json:"time,omitempty"`
	Error string `json:"error,omitempty"` // why it cannot be read
}

func (a asideJSON) String() string {
	if a.Error != "" {
		return a.Error
	}
	return fmt.Sprintf("%.8s of %s, %s", a.ID, a.Name, a.Time)
}

func listAside(ctx context.Context, r *repo.Repo) ([]asideJSON, error) {
	all, bad, err := snapshot.LoadAside(ctx, r)
	out := []asideJSON{}
	for _, s := range all {
		out = append(out, asideJSON{s.ID.String(), s.Name, localTime(s.Time), ""})
	}
	for _, u := range bad {
		out = append(out, asideJSON{ID: u.ID.String(), Error: u.Error()})
	}
	return out, err
}

// putBack puts back versions that were kept aside.
func putBack(ctx context.Context, env *env, opts repairSnapshotsOptions, r *repo.Repo, which []string) error {
	ids, err := r.ListAside(ctx)
	if err != nil {
		return err
	}
	var chosen []pack.FileID
	for _, spec := range which {
		n := len(chosen)
		for _, id := range ids {
			if spec == "all" || len(spec) >= 4 && strings.HasPrefix(id.String(), strings.ToLower(spec)) {
				chosen = append(chosen, id)
			}
		}
		switch found := len(chosen) - n; {
		case found == 0 && spec != "all":
			return fmt.Errorf("--put-back %s: no version with that ID is kept aside; 'repair snapshots' lists those that are", spec)
		case found > 1 && spec != "all":
			return fmt.Errorf("--put-back %s: %d versions kept aside have an ID that begins like this; give more digits", spec, found)
		}
	}
	back, err := snapshot.PutBack(ctx, r, chosen)
	if opts.json {
		list := []snapshotJSON{}
		for _, s := range back {
			list = append(list, asJSON(s))
		}
		if e := env.printJSON(list); err == nil {
			err = e
		}
		return err
	}
	for i, s := range back {
		fmt.Fprintln(env.stdout, printable(fmt.Sprintf("put back %.8s of %s, %s, as %.8s", chosen[i], s.Name, localTime(s.Time), s.ID)))
	}
	return err
}

// reviewAside deletes what was kept aside once a check has read everything and found all other versions whole. It notes what
// it still keeps.
func reviewAside(ctx context.Context, r *repo.Repo, opts checkOptions, result *checkJSON, bad int) error {
	if result.Report.Aside == 0 {
		return nil
	}
	report := result.Report
	full := opts.readData && opts.sample == 1 && opts.sinceDays == 0 && !opts.readOnly
	clean := len(result.Lost) == 0 && bad == 0 && opts.suspicious() == nil
	if !full || !clean {
		report.Notes = append(report.Notes, fmt.Sprintf("%s kept aside (%s): 'repair snapshots' lists what was removed as damaged, and can put it back; "+
			"it is deleted when 'check --read-data' finds all other versions whole", isAre(report.Aside, "snapshot"), "aside/"))
		return nil
	}
	whole, dropped, err := heal.ReviewAside(ctx, r, report.ChunkError)
	if err != nil {
		return err
	}
	for _, s := range whole {
		report.Notes = append(report.Notes, fmt.Sprintf("%s: it was removed as damaged, but is whole: 'repair snapshots --put-back %.8s' puts it back; "+
			"it is kept until then", repo.AsideName(s.ID), s.ID))
	}
	for _, id := range dropped {
		report.Notes = append(report.Notes, fmt.Sprintf("%s: it was removed as damaged, is still damaged, and all other versions are whole: it was deleted", repo.AsideName(id)))
	}
	return nil
}
