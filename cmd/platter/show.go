package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

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
		Usage:       "tell everything known of one version",
		ArgsUsage:   "SNAPSHOT",
		Category:    aboutDisks,
		Description: aboutSnapshotArgument,
		Flags:       append([]cli.Flag{badMapFlag(&opts.badMap)}, repoFlags(&opts.common)...),
		Action:      action(env, &opts, runShow),
	}
}

const aboutSnapshotArgument = "SNAPSHOT is the first digits of an id (4 or more), a disk's NAME for its newest version, " +
	"NAME~2 for two versions before that, or 'latest'."

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
	s, err := snapshot.Find(all, args[0])
	if err != nil {
		return err
	}
	if err := writeBadMap(ctx, r, s, opts.badMap); err != nil {
		return err
	}
	lost, err := lostRanges(ctx, r, s, opts.common)
	if err != nil {
		return err
	}
	if opts.json {
		return env.printJSON(struct {
			snapshotJSON
			lostJSON
		}{asJSON(s), lost})
	}
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(env.stdout, "%-9s %s\n", key, printable(value))
		}
	}
	line("id", s.ID.String())
	line("name", s.Name)
	line("host", s.Host)
	line("time", localTime(s.Time))
	line("tags", strings.Join(s.Tags, ", "))
	line("note", s.Note)
	line("source", fmt.Sprintf("%s (%s)", s.Source.Path, s.Source.Kind))
	line("device", deviceText(s.Source))
	line("disk", fmt.Sprintf("%s (%d bytes), of which %s are data", size(s.Size), s.Size, size(s.Stats.Data)))
	line("read", fmt.Sprintf("%s in %s", size(s.Stats.Read), duration(time.Duration(s.Stats.Millis)*time.Millisecond)))
	line("new", size(s.Stats.New))
	line("stored", size(s.Stats.Stored))
	if s.Parent != nil {
		line("parent", s.Parent.String())
	}
	line("map", rootText(s))
	line("platter", s.Platter)
	lost.each(", which read as zeros", func(text string) { line("lost", text) })
	if s.Modified {
		line("warning", "the source was written to while it was read: this is a mixture")
	}
	return nil
}

func rootText(s *snapshot.Snapshot) string {
	if s.Root.IsZero() {
		return "none: all of it is zeros"
	}
	return s.Root.String()
}
