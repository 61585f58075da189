package main

import (
	"context"
	"fmt"

	"platter/repo"
	"platter/snapshot"
)

// A watch counts the signs that the repository is not what this machine saw before.
type watch struct {
	alarms  int
	missing []repo.Seen
}

// shownMissing is how many missing versions get a warning of their own.
const shownMissing = 10

// finish makes a command that succeeded exit with 3 if there was an alarm.
func (c *common) finish(err error) error {
	if err != nil || c.watch == nil || c.watch.alarms == 0 {
		return err
	}
	return fmt.Errorf("%w: the repository is not what this machine has seen before (see the warnings)", errIncomplete)
}

// alarm warns, and makes the command exit with 3.
func (e *env) alarm(c common, format string, args ...any) {
	e.warn(c, format, args...)
	if c.watch != nil {
		c.watch.alarms++
	}
}

// loadWatched reads all snapshots as snapshot.Load does, and raises the alarm for versions that this machine saw and that are now
// missing, although they were not forgotten.
func loadWatched(ctx context.Context, env *env, r *repo.Repo, c common) (all []*snapshot.Snapshot, bad []error, err error) {
	l, err := snapshot.LoadSeen(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	env.warnMissing(c, l.Missing)
	return l.Snapshots, l.Unreadable, nil
}

// warnMissing raises the alarm for versions that this machine saw and that are missing.
func (e *env) warnMissing(c common, missing []repo.Seen) {
	for _, v := range missing[:min(len(missing), shownMissing)] {
		e.alarm(c, "the version of %s of %s (host %s, ID %s) was here when this machine last looked. It is missing now, and was not forgotten: "+
			"the NAS hides it, lost it, or was reset to an earlier state. Find out what happened. "+
			"If you did that yourself, run 'platter snapshots --accept'", localTime(v.Time), v.Name, v.Host, shortID(v.ID))
	}
	if more := len(missing) - shownMissing; more > 0 {
		e.alarm(c, "%s more that this machine saw %s missing in the same way; 'check --json' lists them", count(more, "version"), isOrAre(more))
	}
	if c.watch != nil {
		c.watch.missing = missing
	}
}

// accept makes this machine accept the repository as it is now.
func (e *env) accept(c common, r *repo.Repo, all []*snapshot.Snapshot) error {
	if err := snapshot.Accept(r, all); err != nil {
		return err
	}
	if err := setLocation(cacheFolder(e, c), location(c), e.here(r)); err != nil {
		return fmt.Errorf("record it on this machine: %w", err)
	}
	c.watch.alarms = 0
	return nil
}

// suspicious returns an error if there was an alarm: versions may be missing, and a policy must not choose among the others what to
// delete.
func (c common) suspicious() error {
	if c.watch == nil || c.watch.alarms == 0 {
		return nil
	}
	return fmt.Errorf("refused: the repository is not what this machine has seen before (see the warnings), so no policy is applied to it. " +
		"Put back what is missing, or run 'platter snapshots --accept' if the repository is right as it is")
}

// missingWhenRead returns an error if a snapshot was listed, is missing now, and was not forgotten.
func missingWhenRead(bad []error) error {
	if err := (&snapshot.Loaded{Unreadable: bad}).MissingWhenRead(); err != nil {
		return fmt.Errorf("refused: %w; no policy is applied. Try again, and run 'platter check'", err)
	}
	return nil
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
