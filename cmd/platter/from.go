package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/repo/crypt"
	"platter/snapshot"
	"platter/snapshot/heal"
)

// fromOptions name where lost data may be found.
type fromOptions struct {
	repos, disks cli.StringSlice
	password     passwordSource // of repos
}

func fromFlags(o *fromOptions) []cli.Flag {
	const category = "Where to look for lost data:"
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "from", Usage: "the repository in `FOLDER`, a copy of this one or another; may be repeated", TakesFile: true, Destination: &o.repos, Category: category},
		&cli.StringSliceFlag{Name: "from-disk", Usage: "the disk or disk image at `PATH`; may be repeated", TakesFile: true, Destination: &o.disks, Category: category},
	}, passwordFlags(&o.password, "from-password", "the password of --from, if it differs,", category)...)
}

// A rescue is what fromOptions name, open.
type rescue struct {
	copies []repo.Copy
	disks  []heal.Holder
	opened []io.Closer
}

func (r *rescue) close() error {
	var errs []error
	for _, c := range r.opened {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// openDisks opens what --from-disk names.
func (r *rescue) openDisks(paths []string) error {
	for _, path := range paths {
		if err := localFile("--from-disk", path); err != nil {
			return err
		}
		src, err := openImage(path, imageOptions{forceInUse: true}) // every chunk is verified by its ID
		if err != nil {
			return err
		}
		r.opened = append(r.opened, src)
		if src.broken != nil {
			return src.broken
		}
		r.disks = append(r.disks, heal.Holder{Name: path, Disk: src.disk})
	}
	return nil
}

// openRepos opens what --from names. A repository with the same ID is a copy, whose files can replace ours. Of any other
// repository, the snapshots are disks to search, the newest first.
func (r *rescue) openRepos(ctx context.Context, env *env, opts repairPacksOptions, own *repo.Repo, password []byte) error {
	if given, err := env.givenPassword(ctx, opts.from.password); err != nil {
		return err
	} else if given != nil {
		password = given
	}
	for _, path := range opts.from.repos.Value() {
		if sameFolder(path, opts.repo) {
			return usagef("--from %s is the repository itself", path)
		}
		// Nothing is ever written there, and no cache of it is made.
		c := common{repo: path, dryRun: true, noCache: true}
		s, err := openStore(env, c)
		if err != nil {
			return err
		}
		other, err := openWith(ctx, env, c, s, password)
		if errors.Is(err, crypt.ErrWrongPassword) {
			return fmt.Errorf("%w; if --from has another password, give it with --from-password-file or %s", err, opts.from.password.variable())
		} else if err != nil {
			return err
		}
		all, bad, err := snapshot.Load(ctx, other) // before its index
		if err != nil {
			return openError(c, err)
		}
		isCopy := other.ID() == own.ID()
		if err := other.LoadIndex(ctx); err != nil && (!isCopy || ctx.Err() != nil) {
			return openError(c, err)
		} else if err != nil {
			env.warn(opts.common, "%v; only whole files are used from there", openError(c, err))
		}
		if isCopy {
			r.copies = append(r.copies, repo.Copy{Name: path, Repo: other})
			continue
		}
		for _, err := range bad {
			env.warn(opts.common, "a snapshot in %s cannot be read: %v", path, err)
		}
		frames := other.Frames(snapshot.DefaultFrames)
		for _, s := range slices.Backward(all) {
			disk, err := s.OpenOn(ctx, frames)
			if err != nil {
				return err
			}
			r.disks = append(r.disks, heal.Holder{Name: fmt.Sprintf("%s of %s in %s", shortID(s.ID), s.Name, path), Disk: disk})
		}
	}
	return nil
}

// sameFolder reports whether two paths lead to one folder.
func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}
