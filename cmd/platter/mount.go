package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/serve/fuse"
)

type mountOptions struct {
	common
	servingOptions
	name       string
	allowOther bool
}

func mountCommand(env *env) *cli.Command {
	var opts mountOptions
	return &cli.Command{
		Name:      "mount",
		Usage:     "show versions as files in a folder, without restoring them (Linux)",
		ArgsUsage: "[SNAPSHOT] DIR",
		Category:  aboutDisks,
		Description: "DIR is an empty folder. In it, DIR/NAME/TIME has the files of a version: disk.img is the disk, p2-root.img is partition 2 with the label root, and disk.json describes the version. " +
			"DIR/NAME/latest is a link to the newest version. New versions appear by themselves. With SNAPSHOT, DIR has the files of that version only.\n\n" +
			"Copy the files, compare them, mount a partition as root with 'mount -o ro,loop FILE FOLDER', or give them to a virtual machine. " +
			"A partition that was in use when it was backed up has a journal to replay. Serve it with --writable, or mount it with '-o ro,loop,noload' (ext4), norecovery (XFS) or rescue=nologreplay (Btrfs).\n\n" +
			"It serves until Ctrl-C, or until DIR is unmounted. On Windows and macOS, use nbd.\n\n" +
			"With --writable, programs may write to the disks. The stored version never changes: what is written goes to an overlay, which is discarded at the end, " +
			"kept in a file (--overlay), or stored as a new version (--save). Both imply --writable.\n\n" + aboutSnapshotArgument,
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "show only disks called `NAME`", Destination: &opts.name},
			&cli.BoolFlag{Name: "allow-other", Usage: "let other users read the files too; unless you are root, /etc/fuse.conf must have user_allow_other", Destination: &opts.allowOther, DisableDefaultText: true},
			&cli.StringFlag{Name: "run", Usage: "run `COMMAND`, which finds DIR in $dir, and end when it ends", Destination: &opts.run},
		}, servingFlags(&opts.servingOptions, "let programs write to the disks")...), repoFlags(&opts.common)...),
		Action: action(env, &opts, runMount),
	}
}

func runMount(ctx context.Context, env *env, opts mountOptions, args []string) error {
	spec := ""
	switch len(args) {
	case 2:
		spec, args = args[0], args[1:]
		if spec == "" {
			return usagef("SNAPSHOT is empty")
		}
	case 0, 1:
		if err := wantArgs(args, "DIR"); err != nil {
			return err
		}
	default:
		return wantArgs(args, "SNAPSHOT", "DIR")
	}
	dir, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	if err := opts.check(spec != ""); err != nil {
		return err
	}
	if opts.name != "" && spec != "" {
		return usagef("--name selects disks, and SNAPSHOT one version: give only one of them")
	}
	if outsideOf(opts.repo, filepath.Join(dir, "disk.img")) != nil {
		return fmt.Errorf("mount %s: it is in the folder of the repository; choose another folder", dir)
	}
	o := fuse.Options{Writable: opts.writes(), AllowOther: opts.allowOther, Name: "platter"}
	if err := fuse.Check(dir, o); err != nil { // before the password is asked for
		return err
	}
	var match func(*snapshot.Snapshot) bool
	if opts.name != "" {
		match = func(s *snapshot.Snapshot) bool { return s.Name == opts.name }
	}
	s, err := openServing(ctx, env, opts.common, opts.servingOptions, spec, match)
	if err != nil {
		return err
	}
	return s.end(ctx, s.mount(ctx, opts, dir, o))
}

// mount mounts the versions on a folder, and returns when they are no longer mounted.
func (s *serving) mount(ctx context.Context, opts mountOptions, dir string, o fuse.Options) error {
	o.Report = func(file string, err error) { s.env.warn(s.c, "%s: %v", file, err) }
	if s.one != nil {
		o.Version = &fuse.Version{ID: s.one.ID.String(), Time: s.one.Time}
	}
	s.env.patient.Store(true)
	m, err := fuse.Mount(ctx, dir, &fuseCatalog{s}, o)
	if err != nil {
		return err // it names the folder
	}
	s.served = true
	if opts.run != "" {
		err := s.runBeside(ctx, opts.run, "dir="+dir, "PLATTER_DIR="+dir)
		over, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, s.waitUnmounted(over, m, dir))
	}
	if opts.json {
		err = s.env.printJSON(s.begun(map[string]string{"dir": dir}))
	} else {
		s.env.info(s.c, "mounted on %s; Ctrl-C or 'umount %s' ends it", dir, dir)
	}
	return errors.Join(err, s.waitUnmounted(ctx, m, dir))
}

// waitUnmounted waits until the folder is unmounted, which it does when ctx ends, and until programs have closed its files: a
// loop device may still hold writes.
func (s *serving) waitUnmounted(ctx context.Context, m *fuse.Server, dir string) error {
	err := m.Wait(ctx)
	if !errors.Is(err, fuse.ErrBusy) {
		return err
	}
	s.env.warn(s.c, "programs or loop devices have files of %s open (%v); platter ends when they have closed them. "+
		"A second Ctrl-C, or SIGTERM (kill %d), ends it at once: they then get I/O errors, and what they have not written yet is lost", dir, err, os.Getpid())
	return m.Wait(context.WithoutCancel(ctx))
}

// A fuseCatalog shows a serving's versions as files.
type fuseCatalog struct{ s *serving }

var _ fuse.Catalog = (*fuseCatalog)(nil)

// Disks returns the names of the disks.
func (f *fuseCatalog) Disks(ctx context.Context) ([]string, error) {
	names, err := f.s.catalog.Disks(ctx)
	if len(names) > 0 {
		err = nil // the store does not answer, and they were there a moment ago
	}
	return names, err
}

// Versions returns the versions of a disk.
func (f *fuseCatalog) Versions(ctx context.Context, disk string) (list []fuse.Version, err error) {
	all, err := f.s.catalog.Versions(ctx, disk)
	if len(all) > 0 {
		err = nil
	}
	for _, v := range all {
		list = append(list, fuse.Version{ID: v.ID.String(), Time: v.Time})
	}
	return list, err
}

// Files returns the files of a version.
func (f *fuseCatalog) Files(ctx context.Context, version fuse.Version) ([]fuse.File, error) {
	v, err := f.find(ctx, version.ID)
	if err != nil {
		return nil, err
	}
	whole, name := v.Whole(), "disk.img"
	if f.s.one == v && f.s.part.Name != "" {
		whole, name = f.s.part, f.s.part.Name+".img"
	}
	data := int64(-1)
	if whole.Len == v.Size && (v.Stats.Data > 0 || v.Root.IsZero()) { // unreadable ranges must not look like a hole
		data = v.Stats.Data
	}
	files := []fuse.File{f.file(v, name, whole, data)}
	if whole.Name == "" {
		for _, p := range parts(v) {
			name := p.Name
			if p.label != "" {
				name += "-" + p.label
			}
			files = append(files, f.file(v, name+".img", p.Part, -1))
		}
	}
	text, err := jsonText(asJSON(v))
	if err != nil {
		return nil, err
	}
	return append(files, fuse.File{Name: "disk.json", Size: int64(len(text)), Data: int64(len(text)), Open: func(context.Context) (image.Disk, error) {
		return image.Mem{Data: bytes.Clone(text)}, nil
	}}), nil
}

func (f *fuseCatalog) file(v *snapshot.Snapshot, name string, part snapshot.Part, data int64) fuse.File {
	return fuse.File{Name: name, Size: part.Len, Data: data, Writable: f.s.o.writes(), Open: func(ctx context.Context) (image.Disk, error) {
		disk, writable, err := f.s.open(ctx, v, part)
		if writable != nil {
			return writable, err
		}
		return disk, err
	}}
}

func (f *fuseCatalog) find(ctx context.Context, id string) (*snapshot.Snapshot, error) {
	if f.s.one != nil {
		return f.s.one, nil
	}
	parsed, err := pack.ParseFileID(id)
	if err != nil {
		return nil, err
	}
	return f.s.catalog.Find(ctx, parsed)
}
