package main

import (
	"context"
	"slices"
	"strings"

	"platter/repo"
	"platter/snapshot"
)

// find returns the snapshot that spec names, and warns of skipped versions from the future.
func (e *env) find(c common, all []*snapshot.Snapshot, spec string) (*snapshot.Snapshot, error) {
	s, passed, err := snapshot.Find(all, spec, e.now())
	e.warnPassed(c, passed)
	if err == nil {
		e.warnFuture(c, s, spec)
	}
	return s, err
}

// findPart is find for a disk or a part of it.
func (e *env) findPart(ctx context.Context, c common, r *repo.Repo, all []*snapshot.Snapshot, spec string) (*snapshot.Snapshot, snapshot.Part, error) {
	found, err := snapshot.ReadPart(ctx, r, all, spec, e.now())
	e.warnPassed(c, found.Passed)
	if err != nil {
		return nil, snapshot.Part{}, err
	}
	if found.Warning != "" {
		e.warn(c, "%s: %s", spec, found.Warning)
	}
	e.warnFuture(c, found.Snapshot, spec)
	return found.Snapshot, found.Part, nil
}

// openVersion opens the repository, and finds the version, or part of its disk, that spec names.
func (e *env) openVersion(ctx context.Context, c common, spec string) (*repo.Repo, *snapshot.Snapshot, snapshot.Part, error) {
	r, all, err := openSnapshots(ctx, e, c)
	if err != nil {
		return nil, nil, snapshot.Part{}, err
	}
	s, part, err := e.findPart(ctx, c, r, all, spec)
	if err != nil {
		e.warnHealed(c, r)
		return nil, nil, snapshot.Part{}, err
	}
	return r, s, part, nil
}

// warnPassed names the versions from the future that a name skipped: only their IDs find them.
func (e *env) warnPassed(c common, passed []*snapshot.Snapshot) {
	const most = 5
	for i, s := range slices.Backward(passed) {
		if len(passed)-i > most {
			e.warn(c, "%s more are passed over too", count(i+1, "version"))
			return
		}
		e.warn(c, "%s of %s is passed over: its time, %s, is in the future by this machine's clock. Only its ID selects it; "+
			"if its time is wrong, 'platter forget %s' removes it", shortID(s.ID), s.Name, localTime(s.Time), shortID(s.ID))
	}
}

// warnFuture warns if all versions of a name are from the future.
func (e *env) warnFuture(c common, s *snapshot.Snapshot, spec string) {
	of, _, _ := strings.Cut(spec, ":")
	if s.IsFuture(e.now()) && !strings.HasPrefix(s.ID.String(), strings.ToLower(of)) {
		e.warn(c, "%s of %s, dated %s, is in the future by this machine's clock, and there is no other version", shortID(s.ID), s.Name, localTime(s.Time))
	}
}
