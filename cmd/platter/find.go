package main

import (
	"context"
	"slices"
	"strings"

	"platter/repo"
	"platter/snapshot"
)

// find returns the snapshot that spec names, and warns where versions from the future are passed over.
func (e *env) find(c common, all []*snapshot.Snapshot, spec string) (*snapshot.Snapshot, error) {
	s, passed, err := snapshot.Find(all, spec, e.now())
	e.warnPassed(c, passed)
	if err == nil {
		e.warnFuture(c, s, spec)
	}
	return s, err
}

// findPart is find for a disk or a part of one.
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

// warnPassed names versions from the future, which only their ids find.
func (e *env) warnPassed(c common, passed []*snapshot.Snapshot) {
	const most = 5
	for i, s := range slices.Backward(passed) {
		if len(passed)-i > most {
			e.warn(c, "%s more are passed over, too", count(i+1, "version"))
			return
		}
		e.warn(c, "%s of %s is passed over: it is dated %s, which is in the future by this machine's clock. Its id names it; "+
			"if its time is wrong, 'platter forget %s' removes it", shortID(s.ID), s.Name, localTime(s.Time), shortID(s.ID))
	}
}

// warnFuture warns where a name has versions from the future only.
func (e *env) warnFuture(c common, s *snapshot.Snapshot, spec string) {
	of, _, _ := strings.Cut(spec, ":")
	if s.IsFuture(e.now()) && !strings.HasPrefix(s.ID.String(), strings.ToLower(of)) {
		e.warn(c, "%s of %s is dated %s, which is in the future by this machine's clock, and there is no other version", shortID(s.ID), s.Name, localTime(s.Time))
	}
}
