package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/nbd"
)

// succeed finds what precedes a version, and warns of clocks that disagree.
func succeed(env *env, opts backupOptions, r *repo.Repo, all []*snapshot.Snapshot, s *snapshot.Snapshot) (*snapshot.Succession, error) {
	v := snapshot.Coming{Name: s.Name, Host: s.Host, Time: s.Time, Dated: opts.time != "", Now: env.now(), Store: r.LeaseTime()}
	if opts.parent != "" {
		var err error
		if v.Parent, err = env.find(opts.common, all, opts.parent); err != nil {
			return nil, fmt.Errorf("--parent: %w", err)
		}
	}
	after := snapshot.Succeed(all, v)
	env.warnPassed(opts.common, after.Passed)
	if after.Future {
		env.warn(opts.common, "--time %s is in the future by this machine's clock: until then only the ID finds the version, and policies ignore it", localTime(s.Time))
	}
	if after.Apart {
		env.warn(opts.common, "this machine's clock says %s, and the store's %s. If this machine's is wrong, the version is dated in the future, and names pass over it", localTime(s.Time), localTime(v.Store))
	}
	return &after, nil
}

// identify compares the source with the newest version of its name and host, and sets the disk ID of the new version to. It
// refuses another disk.
func (s *source) identify(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, all []*snapshot.Snapshot, after *snapshot.Succession, to *snapshot.Snapshot) error {
	old := after.Newest
	if s.stream != nil {
		s.look(to.Source) // must come before the stream is read
	}
	if old == nil {
		to.Disk = to.DiskID()
		return nil
	}
	to.Disk = old.DiskID()
	if opts.sameDisk {
		return nil
	}
	claim := &snapshot.Claim{
		Snapshot: to, Named: opts.named, Device: s.device, Stays: s.stays,
		Look: func() *anatomy.Disk { return s.look(to.Source) },
	}
	if s.retrying != nil {
		claim.Size = s.retrying.Size()
	}
	was, err := old.ReadAnatomy(ctx, r) // if an older platter stored it, this reads the repository, which may be damaged
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch verdict, why := claim.Compare(old, was); verdict {
	case snapshot.Another:
		return s.refuse(all, claim, old, why)
	case snapshot.Changed:
		env.warn(opts.common, "the content of %s has nothing in common with %s, the newest version of %s: %s. It is stored as the same disk, because its serial number or path is the same. "+
			"If it is another disk, forget this version and back up again with another --name", s.path, shortID(old.ID), old.Name, why)
	case snapshot.Unsure:
		env.warn(opts.common, "platter cannot tell whether %s is the disk of %s, the newest version of %s: %s. It is stored as the same disk, because of its name; "+
			"confirm that with --same-disk", s.path, shortID(old.ID), old.Name, why)
	}
	return nil
}

// refuse returns the error that the source is another disk, and says what to do.
func (s *source) refuse(all []*snapshot.Snapshot, claim *snapshot.Claim, old *snapshot.Snapshot, why string) error {
	name := "choose another --name"
	if known := claim.Known(all); known != nil {
		name = fmt.Sprintf("it is the disk of %s, a version of %s, so use that --name", shortID(known.ID), known.Name)
	}
	return fmt.Errorf("%s is another disk than %s, the newest version of %s (host %s): %s. Nothing was stored. Either %s, or, "+
		"if it is the same disk after a move, a replacement or a reinstallation, use --same-disk", s.path, shortID(old.ID), old.Name, old.Host, why, name)
}

// stays reports whether something still is at a path, and whether it is this source. An NBD export is, unless its server's
// socket is missing.
func (s *source) stays(path string) (there, same bool) {
	if nbd.IsURI(path) {
		socket := nbd.Socket(path)
		_, err := os.Stat(socket)
		return socket == "" || !errors.Is(err, os.ErrNotExist), false
	}
	was, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist), false
	}
	now, err := os.Stat(s.path)
	return true, err == nil && os.SameFile(was, now)
}

// warnOfSuccession warns of a version that contradicts its predecessors or its own partition table, and then returns an error
// that wraps errIncomplete.
func warnOfSuccession(env *env, opts backupOptions, a *snapshot.Succession, src *source, s *snapshot.Snapshot) (err error) {
	if a.Late {
		env.warn(opts.common, "this version is dated %s, and %s, the newest of %s, is dated %s: the clock of this machine is wrong, or was wrong then. "+
			"Names select the other version, and policies drop this one first; set the clock and back up again, or forget the version with the wrong time",
			localTime(s.Time), shortID(a.Newest.ID), a.Newest.Name, localTime(a.Newest.Time))
		err = fmt.Errorf("%w: the version is older than the newest of its disk", errIncomplete)
	}
	switch {
	case opts.size != 0:
	case a.Before != nil && s.Size < a.Before.Size:
		env.warn(opts.common, "%s has %d bytes, and had %d in the version before, %s: unless the disk was shrunk, this version is incomplete. "+
			"If the size is right, confirm it with --size", src.path, s.Size, a.Before.Size, shortID(a.Before.ID))
		err = errors.Join(err, fmt.Errorf("%w: the disk is shorter than in the version before", errIncomplete))
	case src.stream != nil && s.Size < src.stream.least():
		env.warn(opts.common, "%s has %d bytes, but by its partition table it should have at least %d: this version is incomplete. "+
			"If the size is right, confirm it with --size", src.path, s.Size, src.stream.least())
		err = errors.Join(err, fmt.Errorf("%w: the disk is shorter than its partition table says", errIncomplete))
	}
	return err
}
