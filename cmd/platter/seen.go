package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"platter/repo"
	"platter/snapshot"
)

// A watch notes that the repository is not what this machine has seen before.
type watch struct {
	alarms int
	missed []repo.Seen
}

// shownMissed is how many missing versions get a warning of their own.
const shownMissed = 10

// finish makes a command that was done otherwise exit with 3 where there was an alarm.
func (c *common) finish(err error) error {
	if err != nil || c.watch == nil || c.watch.alarms == 0 {
		return err
	}
	return fmt.Errorf("%w: the repository is not what this machine has seen before (see the warnings)", errIncomplete)
}

// alarm warns, and has the command exit with 3.
func (e *env) alarm(c common, format string, args ...any) {
	e.warn(c, format, args...)
	if c.watch != nil {
		c.watch.alarms++
	}
}

// loadWatched reads all snapshots as snapshot.Load does, and raises the alarm for those that this machine has seen and that
// are not there any more although nobody has forgotten them.
func loadWatched(ctx context.Context, env *env, r *repo.Repo, c common) (all []*snapshot.Snapshot, bad []error, err error) {
	if all, bad, err = snapshot.Load(ctx, r); err != nil {
		return nil, nil, err
	}
	missed, err := snapshot.MissingSeen(ctx, r, all, bad)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range missed[:min(len(missed), shownMissed)] {
		env.alarm(c, "the version of %s of %s (host %s, id %s) was here when this machine last looked. It is gone, and nobody has forgotten it: "+
			"the NAS hides it, was taken back to an earlier state, or lost it. Do not rely on what is missing, and find out what happened. "+
			"If you did that yourself, 'platter snapshots --accept' says so", localTime(v.Time), v.Name, v.Host, shortID(v.ID))
	}
	if more := len(missed) - shownMissed; more > 0 {
		env.alarm(c, "%s more that this machine has seen %s gone in the same way; 'check --json' lists them", count(more, "version"), isOrAre(more))
	}
	if c.watch != nil {
		c.watch.missed = missed
	}
	return all, bad, nil
}

// accept makes this machine take the repository as it is now.
func (e *env) accept(c common, r *repo.Repo, all []*snapshot.Snapshot) error {
	if err := snapshot.Accept(r, all); err != nil {
		return err
	}
	if err := setLocation(cacheFolder(e, c), location(c), e.here(r)); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	c.watch.alarms = 0
	return nil
}

// suspicious returns an error where this machine has raised the alarm: what is there may not be all there is, and a policy must
// not choose among it what to delete.
func (c common) suspicious() error {
	if c.watch == nil || c.watch.alarms == 0 {
		return nil
	}
	return fmt.Errorf("refused: the repository is not what this machine has seen before (see the warnings), so no policy is applied to it. " +
		"Put back what is missing, or, if it is right as it is, run 'platter snapshots --accept' first")
}

// vanished returns an error where a snapshot was listed, is not there, and nobody has forgotten it.
func vanished(bad []error) error {
	for _, err := range bad {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("refused: %w; so no policy is applied. Try again, and see 'platter check'", err)
		}
	}
	return nil
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
