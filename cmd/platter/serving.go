package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/serve"
)

// servingOptions are the flags of commands that keep versions open for other programs: mount, nbd and boot.
type servingOptions struct {
	memory    byteSize
	zeros     bool
	writable  bool // keep what is written until the end
	discard   bool // say so
	overlay   string
	save      string
	run       string
	cacheSize byteSize
}

const servingWrites = "Writes:"

// servingFlags are the flags of servingOptions. writable is what --writable does; "" for a command that always lets its
// programs write.
func servingFlags(o *servingOptions, writable string) []cli.Flag {
	o.memory = serve.DefaultMemory
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "zeros", Usage: "read zeros where the disk was unreadable when it was backed up, instead of an I/O error", Destination: &o.zeros, DisableDefaultText: true},
		&cli.GenericFlag{Name: "memory", Usage: "use up to `SIZE` of memory for decoded data", Value: &o.memory},
		&cli.GenericFlag{Name: "cache-size", Usage: "keep up to `SIZE` of what is read from the repository in the cache folder, still encrypted; for a slow NAS", Value: &o.cacheSize, DefaultText: "none"},
	}
	if writable != "" {
		flags = append(flags, &cli.BoolFlag{Name: "writable", Aliases: []string{"w"}, Usage: writable, Category: servingWrites, Destination: &o.writable, DisableDefaultText: true})
	}
	return append(flags,
		&cli.BoolFlag{Name: "discard", Usage: "when the command ends, discard what was written; the default", Category: servingWrites, Destination: &o.discard, DisableDefaultText: true},
		&cli.StringFlag{Name: "overlay", Usage: "keep what is written in `FILE`, and go on from there the next time; FILE is not encrypted", TakesFile: true, Category: servingWrites, Destination: &o.overlay},
		&cli.StringFlag{Name: "save", Usage: "when the command ends, store what the disk is then as a new version of the disk `NAME`", Category: servingWrites, Destination: &o.save},
	)
}

// writes reports whether something may be written.
func (o servingOptions) writes() bool { return o.writable || o.overlay != "" || o.save != "" }

// check returns an error for flags that do not go together. one says that one version is served, and not all.
func (o servingOptions) check(one bool) error {
	switch {
	case !one && (o.overlay != "" || o.save != ""):
		return usagef("--overlay and --save are for one version: name a SNAPSHOT")
	case o.discard && (o.overlay != "" || o.save != ""):
		return usagef("--discard drops what was written, and --overlay and --save keep it: give --discard, or the others")
	case o.memory < 8<<20:
		return usagef("--memory: give 8M or more")
	case o.cacheSize > 0 && o.cacheSize < 64<<20:
		return usagef("--cache-size: give 64M or more")
	}
	if o.save != "" {
		if err := snapshot.CheckName(o.save); err != nil {
			return usagef("--save: %v", err)
		}
	}
	if o.overlay != "" {
		return localFile("--overlay", o.overlay)
	}
	return nil
}

// A serving is an open repository whose versions are served.
type serving struct {
	env     *env
	c       common
	o       servingOptions
	repo    *repo.Repo
	all     []*snapshot.Snapshot
	library *serve.Library
	catalog *serve.Catalog
	copies  *serve.Copies // of all versions

	// If one version is served:
	one  *snapshot.Snapshot
	part snapshot.Part
	copy *serve.Copy // with the overlay that is kept or saved; nil if nothing is
	kept string      // the file of that overlay
	save *snapshot.Snapshot

	served bool // programs may have written: from then on, the end saves
}

// openServing opens a repository, and the version that spec names; "" for all. The caller closes it.
func openServing(ctx context.Context, env *env, c common, o servingOptions, spec string, match func(*snapshot.Snapshot) bool) (s *serving, err error) {
	s = &serving{env: env, c: c, o: o}
	if s.repo, s.all, err = openSnapshots(ctx, env, c); err != nil {
		return nil, err
	}
	if o.cacheSize > 0 {
		folder := cacheFolder(env, c)
		if folder == "" {
			return nil, usagef("--cache-size needs a cache folder: leave out --no-cache, or name one with --cache-dir")
		}
		if err := s.repo.UseBlockCache(folder, int64(o.cacheSize)); err != nil {
			return nil, fmt.Errorf("--cache-size: %w", err)
		}
	}
	if spec != "" {
		if s.one, s.part, err = env.findPart(ctx, c, s.repo, s.all, spec); err != nil {
			return nil, err
		}
	}
	if o.save != "" {
		if err := s.maySave(ctx); err != nil {
			return nil, err
		}
	}
	limitMemory(parityMemory(s.repo) + int64(o.memory))
	s.library = serve.New(context.WithoutCancel(ctx), s.repo, serve.Options{Memory: int64(o.memory), Zeros: o.zeros})
	s.copies = serve.NewCopies(s.library, "")
	s.catalog = serve.NewCatalog(s.all, func(ctx context.Context, known []*snapshot.Snapshot) ([]*snapshot.Snapshot, error) {
		return snapshot.LoadNew(ctx, s.repo, known)
	}, match)
	if s.one != nil && (o.overlay != "" || o.save != "") {
		if err := s.openOverlay(ctx); err != nil {
			return nil, s.end(ctx, err)
		}
	}
	return s, nil
}

// maySave checks at the start that what is written can be saved at the end: a lease can be put, and the name is free.
func (s *serving) maySave(ctx context.Context) (err error) {
	if s.save, err = serve.Saved(s.all, s.one, s.o.save, s.env.now()); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	err = s.repo.WithLease(ctx, repo.BackingUp, func(context.Context) error { return nil })
	if err != nil {
		return fmt.Errorf("--save: the repository cannot be written to: %w", err)
	}
	return nil
}

// openOverlay opens the overlay of --overlay, or makes one for --save. The latter has a name too: if saving fails, what was
// written is not lost.
func (s *serving) openOverlay(ctx context.Context) (err error) {
	s.kept = s.o.overlay
	if s.kept == "" {
		folder, err := os.MkdirTemp(cacheFolder(s.env, s.c), "overlay-")
		if err != nil {
			return fmt.Errorf("make an overlay in the cache folder: %w; name a file for it with --overlay, or another folder with --cache-dir", err)
		}
		s.kept = filepath.Join(folder, "overlay")
		defer func() {
			if err == nil {
				s.env.info(s.c, "until the end, what is written is in %s", s.kept)
			}
		}()
	}
	if outsideOf(s.c.repo, s.kept) != nil {
		return fmt.Errorf("make overlay %s: it is in the folder of the repository; choose another place", s.kept)
	}
	s.copy, err = s.library.OpenCopy(ctx, s.repo.ID(), s.one, s.kept)
	if errors.Is(err, fs.ErrNotExist) {
		s.copy, err = s.library.NewCopy(ctx, s.repo.ID(), s.one, s.kept)
	}
	return err
}

// open opens a part of a version: writable, if that is wanted. Its Close may be called once nothing uses it any more.
func (s *serving) open(ctx context.Context, v *snapshot.Snapshot, part snapshot.Part) (image.Disk, image.Writable, error) {
	if !s.o.writes() {
		d, err := s.library.OpenPart(ctx, v, part)
		return d, nil, err
	}
	over := s.copy
	if over == nil {
		var err error
		if over, err = s.copies.Open(ctx, v); err != nil {
			return nil, nil, err
		}
	}
	w, err := image.NewWritableSection(over, part.Off, part.Len)
	return w, w, err
}

// end saves what was written, if that is wanted, and closes everything. failed is why serving ended or did not begin; nil if
// it was asked to end. ctx may have ended.
func (s *serving) end(ctx context.Context, failed error) error {
	ctx = context.WithoutCancel(ctx)
	if s.save == nil || !s.served {
		return errors.Join(failed, s.close(), s.removeTemporary())
	}
	s.env.patient.Store(true)
	defer s.env.patient.Store(false)
	err := s.saveCopy(ctx)
	if err != nil {
		err = fmt.Errorf("%w\nwhat was written is still in %s: 'platter nbd %s --overlay %s --save %s --run true' saves it", err, s.kept, shortID(s.one.ID), s.kept, s.o.save)
	}
	closed := s.close()
	if err == nil && closed == nil {
		closed = s.removeTemporary()
	}
	return errors.Join(failed, err, closed)
}

// removeTemporary removes the overlay of --save. That of --overlay stays.
func (s *serving) removeTemporary() error {
	if s.kept == "" || s.o.overlay != "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(s.kept))
}

func (s *serving) saveCopy(ctx context.Context) error {
	v := s.save
	v.Time, v.Platter = s.env.now().Round(0), buildVersion().Version
	v.Note = "written to after " + shortID(s.one.ID) + " of " + s.one.Name
	s.env.info(s.c, "saving what was written as a version of %s; until then it is in %s", v.Name, s.kept)
	var p repo.Progress
	stop := s.env.progress(s.c, v.Name, &p)
	err := s.copy.Save(ctx, s.repo, s.one, v, &p)
	stop()
	if err != nil {
		return fmt.Errorf("save what was written: %w", err)
	}
	snapshot.RecordSeen(s.repo, v)
	return printBackup(s.env, backupOptions{common: s.c}, v)
}

func (s *serving) close() error {
	err := s.copies.Close()
	if s.copy != nil {
		err = errors.Join(err, s.copy.Close())
	}
	err = errors.Join(err, s.library.Close())
	s.env.warnHealed(s.c, s.repo)
	return err
}

// runBeside runs the command line of --run until it ends, with these variables in its environment. Standard output is the
// command's. Its failure is an error.
func (s *serving) runBeside(ctx context.Context, line string, about ...string) error {
	err := s.env.runShell(ctx, line, about, s.env.stdout.w)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("--run: %w", err)
	}
	return err
}

// begun describes to --json what is served, and where what is written is kept.
func (s *serving) begun(about map[string]string) map[string]string {
	if s.kept != "" {
		about["overlay"] = s.kept
	}
	return about
}

// parts are the partitions of a version that can be opened.
func parts(v *snapshot.Snapshot) (all []servedPart) {
	if v.Anatomy == nil {
		return nil
	}
	for _, p := range v.Anatomy.Partitions {
		if p.Off < 0 || p.Len <= 0 || p.Off > v.Size || p.Len > v.Size-p.Off || slices.Contains(p.Flags, "extended") {
			continue
		}
		label := p.Name
		kind := p.TypeName
		if p.Content != nil {
			kind = p.Content.Type
			if p.Content.Label != "" {
				label = p.Content.Label
			}
		}
		all = append(all, servedPart{snapshot.Part{Off: p.Off, Len: p.Len, Name: snapshot.PartName(p.Number)}, strings.TrimSpace(label), kind})
	}
	return all
}

// A servedPart is a partition, and how people know it.
type servedPart struct {
	snapshot.Part
	label, kind string
}
