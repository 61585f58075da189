package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
)

type showOptions struct {
	common
	badMap string
}

func showCommand(env *env) *cli.Command {
	var opts showOptions
	return &cli.Command{
		Name:        "show",
		Usage:       "describe one version and its disk",
		ArgsUsage:   "SNAPSHOT",
		Category:    aboutDisks,
		Description: "Prints what is known about a version, and draws its disk: the partitions and their content. SNAPSHOT:p1 prints one partition.\n\n" + aboutSnapshotArgument + " " + aboutPartArgument,
		Flags:       append([]cli.Flag{badMapFlag(&opts.badMap)}, repoFlags(&opts.common)...),
		Action:      action(env, &opts, runShow),
	}
}

const aboutSnapshotArgument = "SNAPSHOT is the first digits of an ID (4 or more), NAME for the newest version of that disk, " +
	"NAME~2 for the version two before it, or 'latest' for the newest of all."

const aboutPartArgument = "SNAPSHOT:p3 is partition 3 of its disk. SNAPSHOT:LABEL=root and SNAPSHOT:UUID=… are the partition whose file system " +
	"has that label or UUID. 'show' lists the partitions."

func runShow(ctx context.Context, env *env, opts showOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT"); err != nil {
		return err
	}
	r, err := openRepo(ctx, env, opts.common)
	if err != nil {
		return err
	}
	all, err := loadSnapshots(ctx, env, r, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	of, _, isPart := strings.Cut(args[0], ":")
	s, err := env.find(opts.common, all, of)
	if err != nil {
		return err
	}
	if err := lookAt(ctx, env, opts.common, r, s); err != nil {
		return err
	}
	if isPart {
		return showPart(ctx, env, opts, r, all, args[0])
	}
	if err := writeBadMap(ctx, r, s, opts.badMap); err != nil {
		return err
	}
	lost, err := lostRanges(ctx, r, s, opts.common)
	if err != nil {
		return err
	}
	j := withVerdict(s, bootVerdicts(ctx, env, opts.common, r))
	if opts.json {
		return env.printJSON(struct {
			snapshotJSON
			lostJSON
		}{j, lost})
	}
	printSnapshot(env, s, bootLine(j), lost)
	return nil
}

// lookAt fills in the anatomy of a version that an older platter stored without it. If that fails, it only warns: the rest can
// still be shown.
func lookAt(ctx context.Context, env *env, c common, r *repo.Repo, s *snapshot.Snapshot) error {
	if s.Anatomy != nil {
		return nil
	}
	err := r.LoadIndex(ctx)
	if err == nil {
		s.Anatomy, err = s.ReadAnatomy(ctx, r)
	}
	if err != nil && ctx.Err() == nil {
		env.warn(c, "the content of the disk cannot be shown: %v", err)
		return nil
	}
	return err
}

// showPart prints one partition. lookAt must come first.
func showPart(ctx context.Context, env *env, opts showOptions, r *repo.Repo, all []*snapshot.Snapshot, spec string) error {
	found, err := snapshot.FindPart(ctx, r, all, spec, env.now())
	if err != nil {
		return err
	}
	s, part := found.Snapshot, found.Part
	for _, p := range s.Anatomy.Partitions {
		if snapshot.PartName(p.Number) != part.Name {
			continue
		}
		if opts.json {
			return env.printJSON(partJSON{s.ID.String(), s.Name, p})
		}
		env.printPart(s, p)
	}
	return nil
}

func printSnapshot(env *env, s *snapshot.Snapshot, boot string, lost lostJSON) {
	line := env.line
	line("id", s.ID.String())
	line("name", s.Name)
	line("host", s.Host)
	line("time", localTime(s.Time))
	line("tags", strings.Join(s.Tags, ", "))
	line("note", s.Note)
	line("source", fmt.Sprintf("%s (%s)", s.Source.Path, s.Source.Kind))
	if s.Source.Place != s.Source.Path {
		line("place", s.Source.Place)
	}
	line("device", deviceText(s.Source))
	line("disk", fmt.Sprintf("%s (%d bytes), %s of data", size(s.Size), s.Size, size(s.Stats.Data)))
	line("read", fmt.Sprintf("%s in %s", size(s.Stats.Read), duration(time.Duration(s.Stats.Millis)*time.Millisecond)))
	line("new", size(s.Stats.New))
	line("stored", size(s.Stats.Stored))
	if s.Parent != nil {
		line("parent", s.Parent.String())
	}
	line("map", rootText(s))
	line("platter", s.Platter)
	line("boot", boot)
	lost.each(", which read as zeros", func(text string) { line("lost", text) })
	if s.Modified {
		line("warning", "the source was written to while it was read: this version is a mixture of old and new")
	}
	if s.Anatomy != nil {
		line("table", tableText(s.Anatomy))
		env.printAnatomy(s.Anatomy, s.Size)
	}
}

// line prints a key and its value; nothing if the value is empty.
func (e *env) line(key, value string) {
	if value != "" {
		fmt.Fprintf(e.stdout, "%-9s %s\n", key, printable(value))
	}
}

func rootText(s *snapshot.Snapshot) string {
	if s.Root.IsZero() {
		return "none: the disk is all zeros"
	}
	return s.Root.String()
}
