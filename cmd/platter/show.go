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

type showOptions struct{ common }

func showCommand(env *env) *cli.Command {
	var opts showOptions
	return &cli.Command{
		Name:        "show",
		Usage:       "tell everything known of one version",
		ArgsUsage:   "SNAPSHOT",
		Category:    aboutDisks,
		Description: aboutSnapshotArgument,
		Flags:       repoFlags(&opts.common),
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
	lost, err := lostRanges(ctx, r, s)
	if err != nil {
		return err
	}
	if opts.json {
		return env.printJSON(struct {
			snapshotJSON
			Lost      []snapshot.Range `json:"lost,omitempty"`
			MoreLost  int64            `json:"more_lost,omitempty"` // ranges, which are not listed
			MoreBytes int64            `json:"more_bytes,omitempty"`
		}{asJSON(s), lost.Ranges, lost.MoreRanges, lost.MoreBytes})
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
	line("disk", fmt.Sprintf("%s (%d bytes), of which %s are data", size(s.Size), s.Size, size(s.Stats.Data)))
	line("read", fmt.Sprintf("%s in %s", size(s.Stats.Read), duration(time.Duration(s.Stats.Millis)*time.Millisecond)))
	line("new", size(s.Stats.New))
	line("stored", size(s.Stats.Stored))
	if s.Parent != nil {
		line("parent", s.Parent.String())
	}
	line("map", rootText(s))
	line("platter", s.Platter)
	for _, q := range lost.Ranges {
		line("lost", fmt.Sprintf("bytes %d to %d, which read as zeros", q.Off, q.Off+q.Len))
	}
	line("lost", lost.more())
	if s.Modified {
		line("warning", "the source was written to while it was read: this is a mixture")
	}
	return nil
}

// lostRanges returns which ranges of a disk are known to be lost. Few disks have any; of all others nothing more is read.
func lostRanges(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot) (rangesJSON, error) {
	if s.Unreadable == 0 {
		return rangesJSON{}, nil
	}
	if err := r.LoadIndex(ctx); err != nil {
		return rangesJSON{}, err
	}
	lost, err := snapshot.Lost(ctx, r, s)
	if err != nil {
		return rangesJSON{}, err
	}
	return rangesOf(lost, maxLostRanges), nil
}

func rootText(s *snapshot.Snapshot) string {
	if s.Root.IsZero() {
		return "none: all of it is zeros"
	}
	return s.Root.String()
}
