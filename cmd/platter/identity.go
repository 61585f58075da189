package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image/anatomy"
)

// A succession is what a new version comes after.
type succession struct {
	parent *snapshot.Snapshot // guides the backup; nil for none
	newest *snapshot.Snapshot // of its name and host; nil for none
	before *snapshot.Snapshot // the newest of these that is not later than it; nil for none
	late   bool               // newest is later than this machine's clock
}

// succeed finds out what a version comes after.
func succeed(env *env, opts backupOptions, r *repo.Repo, all []*snapshot.Snapshot, s *snapshot.Snapshot) (*succession, error) {
	// A clock that was reset is behind, so of this machine's and the store's the later one counts.
	now, store := env.now(), r.LeaseTime()
	if store.After(now) {
		now = store
	}
	line := snapshot.LineOf(all, s.Name, s.Host, now)
	after := &succession{newest: line.Newest(), before: line.Before(s.Time)}
	after.parent = after.newest
	if opts.parent != "" {
		var err error
		if after.parent, err = env.find(opts.common, all, opts.parent); err != nil {
			return nil, fmt.Errorf("--parent: %w", err)
		}
	}
	if len(line.Real) > 0 {
		env.warnPassed(opts.common, line.Future)
	}
	if opts.time == "" && after.newest != nil {
		after.late = after.newest.Time.After(env.now()) // not s.Time: another backup may have begun after this one
		if after.before == nil {
			after.before = after.newest
		}
	}
	if opts.time != "" && s.IsFuture(now) {
		env.warn(opts.common, "--time %s is in the future by this machine's clock: until then only its id finds the version, and no policy counts it", localTime(s.Time))
	}
	if opts.time == "" && !store.IsZero() && s.Time.Sub(store) > clockApart {
		env.warn(opts.common, "this machine's clock says %s, and the store's %s. If it is this one that is wrong, the version is from the future, and names pass over it", localTime(s.Time), localTime(store))
	}
	return after, nil
}

// clockApart is more than a file system is off that keeps local time.
const clockApart = 26 * time.Hour

// identify holds the source against the newest version of its name and host, and has s say which disk it is of. Another
// disk is refused.
func (s *source) identify(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, all []*snapshot.Snapshot, after *succession, to *snapshot.Snapshot) error {
	old := after.newest
	if s.stream != nil {
		s.look(to.Source) // before it is read
	}
	if old == nil {
		to.Disk = to.DiskID()
		return nil
	}
	to.Disk = old.DiskID()
	if opts.sameDisk {
		return nil
	}
	claim := &snapshot.Claim{Snapshot: to, Named: opts.named, Device: s.device, Stays: s.stays,
		Look: func() *anatomy.Disk { return s.look(to.Source) }}
	if s.retrying != nil {
		claim.Size = s.retrying.Size()
	}
	was, err := old.ReadAnatomy(ctx, r) // of one that an older platter kept it reads the repository, which may be damaged
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch verdict, why := claim.Compare(old, was); verdict {
	case snapshot.Another:
		return s.refuse(all, claim, old, why)
	case snapshot.Changed:
		env.warn(opts.common, "what is on %s has nothing in common with %s, the newest version of %s: %s. It is kept as the same disk, since its serial number or its path is the same; "+
			"if it is another one, forget this version and give the disk a --name of its own", s.path, shortID(old.ID), old.Name, why)
	case snapshot.Unsure:
		env.warn(opts.common, "nothing tells whether %s is the disk that %s, the newest version of %s, is of: %s. It is kept as the same disk, by its name; "+
			"--same-disk says that this is right", s.path, shortID(old.ID), old.Name, why)
	}
	return nil
}

// refuse says that the source is another disk, and what can be done.
func (s *source) refuse(all []*snapshot.Snapshot, claim *snapshot.Claim, old *snapshot.Snapshot, why string) error {
	name := "give it a name of its own with --name"
	if known := claim.Known(all); known != nil {
		name = fmt.Sprintf("it is the disk that %s of %s is of, so give it that --name", shortID(known.ID), known.Name)
	}
	return fmt.Errorf("%s is another disk than %s, the newest version of %s (host %s): %s. Nothing was kept. Either %s, or, "+
		"if it is the same disk, moved, replaced or made anew, say so with --same-disk", s.path, shortID(old.ID), old.Name, old.Host, why, name)
}

// stays reports whether there still is something at a path, and whether it is this source.
func (s *source) stays(path string) (there, same bool) {
	was, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist), false
	}
	now, err := os.Stat(s.path)
	return true, err == nil && os.SameFile(was, now)
}

// warnOfSuccession warns of a version that is not what its name and time promise, and returns an error that wraps
// errIncomplete where it is incomplete for that.
func (a *succession) warnOfSuccession(env *env, opts backupOptions, src *source, s *snapshot.Snapshot) (err error) {
	if a.late {
		env.warn(opts.common, "this version is dated %s, and %s, the newest of %s, is dated %s: the clock of this machine, or the one that dated that version, is wrong. "+
			"Names find that one, and policies drop this one first; set the clock and back up again, or forget what is dated wrongly",
			localTime(s.Time), shortID(a.newest.ID), a.newest.Name, localTime(a.newest.Time))
		err = fmt.Errorf("%w: the version is older than the newest of its disk", errIncomplete)
	}
	switch {
	case opts.size != 0:
	case a.before != nil && s.Size < a.before.Size:
		env.warn(opts.common, "%s has %d bytes, and had %d in the version before, %s: unless it was made smaller, this is not all of it. "+
			"--size says how large it is", src.path, s.Size, a.before.Size, shortID(a.before.ID))
		err = errors.Join(err, fmt.Errorf("%w: the disk is shorter than in the version before", errIncomplete))
	case src.stream != nil && s.Size < src.stream.least():
		env.warn(opts.common, "%s has %d bytes, and by its partition table there should be %d at least: this is not all of it. "+
			"--size says how large it is", src.path, s.Size, src.stream.least())
		err = errors.Join(err, fmt.Errorf("%w: the disk is shorter than its partition table says", errIncomplete))
	}
	return err
}
