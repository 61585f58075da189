package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image/virtual"
	"platter/snapshot/restore"
)

type exportOptions struct {
	common
	format                  string
	compress, force, verify bool
	forceInUse              bool
}

func exportCommand(env *env) *cli.Command {
	var opts exportOptions
	return &cli.Command{
		Name:      "export",
		Usage:     "export a disk to an image for a virtual machine",
		ArgsUsage: "SNAPSHOT FILE",
		Category:  aboutDisks,
		Description: "FILE is a new image, or - for standard output. Zeros take no room in it. " +
			"Its format is that of --format, or that of its suffix (.qcow2, .vmdk, .vhd, .vhdx, .vdi). " +
			"Standard output takes vmdk, which is always compressed (streamOptimized), and qcow2 without --compress. " +
			"The file gets its name only when it is complete and durable. " +
			"--force replaces an existing file and keeps its owner and mode. If FILE is a link, the file that it points to is replaced.\n\n" +
			"'platter restore' writes raw images and devices.\n\n" +
			aboutSnapshotArgument + " " + aboutPartArgument,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`FORMAT` of the image: " + strings.Join(virtual.Formats()[1:], ", "), DefaultText: "by the suffix of FILE", Destination: &opts.format},
			&cli.BoolFlag{Name: "verify", Usage: "read FILE back as an image and verify every byte of the disk", Destination: &opts.verify, DisableDefaultText: true},
			&cli.BoolFlag{Name: "compress", Aliases: []string{"c"}, Usage: "compress the image (qcow2)", Destination: &opts.compress, DisableDefaultText: true},
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "replace FILE if it exists", Destination: &opts.force, DisableDefaultText: true},
			&cli.BoolFlag{Name: "force-in-use", Usage: "with --force: replace FILE although a program has it open for writing, or locked", Destination: &opts.forceInUse, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
		Action: action(env, &opts, runExport),
	}
}

func runExport(ctx context.Context, env *env, opts exportOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT", "FILE"); err != nil {
		return err
	}
	file := args[1]
	if err := opts.validate(env, file); err != nil {
		return err
	}
	r, s, part, err := env.openVersion(ctx, opts.common, args[0])
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	if d := s.Anatomy; d != nil && part.Name == "" && d.Table != "" && d.SectorSize > 512 {
		env.warn(opts.common, "%s: its partition table counts in sectors of %d bytes, and virtual disks usually have sectors of 512: the virtual machine "+
			"needs a disk with sectors of %d (QEMU: logical_block_size)", args[0], d.SectorSize, d.SectorSize)
	}
	return r.Reading(ctx, repo.Exporting, []pack.FileID{s.ID}, func(ctx context.Context) error {
		return exportTo(ctx, env, opts, r, s, part, file)
	})
}

// exportTo exports to a file, or to standard output.
func exportTo(ctx context.Context, env *env, opts exportOptions, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, file string) (err error) {
	var p repo.Progress
	stop := env.progress(opts.common, s.Name, &p)
	defer stop()
	o := restore.ExportOptions{
		Format: opts.format, Compress: opts.compress, Replace: opts.force, Verify: opts.verify, ForceInUse: opts.forceInUse,
		Unfinished: &env.unfinished,
	}
	start := env.now()
	done := new(restore.Exported)
	if file == stdio {
		err = restore.ExportStream(ctx, r, s, part, env.stdout.raw(), o, &p)
	} else {
		done, err = restore.Export(ctx, r, s, part, file, o, &p)
	}
	stop()
	if err != nil {
		return err
	}
	if file != stdio {
		warnUnsynced(env, opts.common, file, done.Unsynced)
		if err := printExported(env, opts, s, part, file, done, env.now().Sub(start)); err != nil {
			return err
		}
	}
	return warnOfLost(ctx, env, opts.common, r, s, part)
}

// validate fills in the format, and returns a usage error for flags that do not go together.
func (o *exportOptions) validate(env *env, file string) error {
	if o.format == "" && file != stdio {
		o.format = strings.TrimPrefix(strings.ToLower(filepath.Ext(file)), ".")
	}
	formats := virtual.Formats()[1:]
	switch {
	case o.format == virtual.Raw || o.format == "img":
		return usagef("'platter restore' writes raw images")
	case o.format == "":
		return usagef("missing format: use --format with one of %s", strings.Join(formats, ", "))
	case !slices.Contains(formats, o.format):
		return usagef("--format %s: it must be one of %s", o.format, strings.Join(formats, ", "))
	case file != stdio:
		return cmp.Or(localFile("FILE", file), outsideOf(o.repo, file))
	case o.verify || o.json:
		return usagef("--verify and --json cannot be used with FILE -")
	case o.force:
		return usagef("--force replaces a file, and FILE - is standard output")
	}
	if err := env.stdout.forDisk(); err != nil {
		return err
	}
	if f, ok := env.stdout.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return usagef("FILE - would print a disk to the terminal; redirect standard output")
	}
	return nil
}

func printExported(env *env, opts exportOptions, s *snapshot.Snapshot, part snapshot.Part, file string, done *restore.Exported, took time.Duration) error {
	if opts.json {
		return env.printJSON(struct {
			Snapshot string `json:"snapshot"`
			Part     string `json:"part,omitempty"`
			File     string `json:"file"`
			Format   string `json:"format"`
			Size     int64  `json:"size"`
			Length   int64  `json:"file_size"`
			Verified bool   `json:"verified"`
			Millis   int64  `json:"millis"`
		}{s.ID.String(), part.Name, file, opts.format, part.Len, done.File, opts.verify, took.Milliseconds()})
	}
	if opts.quiet {
		return nil
	}
	proof := ""
	if opts.verify {
		proof = "; read back and identical"
	}
	fmt.Fprintf(env.stdout, "exported %s of %s to %s: %s as %s, a file of %s, in %s%s\n",
		shortPart(s, part), s.Name, file, size(part.Len), opts.format, size(done.File), duration(took), proof)
	return nil
}
