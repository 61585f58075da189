package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/snapshot"
)

type diffOptions struct{ common }

func diffCommand(env *env) *cli.Command {
	var opts diffOptions
	return &cli.Command{
		Name:      "diff",
		Usage:     "tell where two versions differ",
		ArgsUsage: "SNAPSHOT SNAPSHOT",
		Category:  aboutDisks,
		Description: "Compares the maps of two disks; no data are read. Ranges are those of chunks, so they may be somewhat too long, " +
			"never too short. Of more than 100,000 ranges the first are listed.\n\n" + aboutSnapshotArgument,
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runDiff),
	}
}

func runDiff(ctx context.Context, env *env, opts diffOptions, args []string) error {
	if err := wantArgs(args, "SNAPSHOT", "SNAPSHOT"); err != nil {
		return err
	}
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	a, err := snapshot.Find(all, args[0])
	if err != nil {
		return err
	}
	b, err := snapshot.Find(all, args[1])
	if err != nil {
		return err
	}
	differs, err := snapshot.Diff(ctx, r, a, b)
	if err != nil {
		return err
	}
	ranges := rangesOf(differs, maxDiffRanges)
	if opts.json {
		return env.printJSON(struct {
			A       string `json:"a"`
			B       string `json:"b"`
			SizeA   int64  `json:"size_a"`
			SizeB   int64  `json:"size_b"`
			Differs int64  `json:"differs"`
			rangesJSON
		}{a.ID.String(), b.ID.String(), a.Size, b.Size, differs.Bytes, ranges})
	}
	if len(ranges.Ranges) > 0 {
		table := newTable(">From", ">To", ">Size")
		for _, d := range ranges.Ranges {
			table.row(fmt.Sprint(d.Off), fmt.Sprint(d.Off+d.Len), size(d.Len))
		}
		table.print(env)
	}
	if more := ranges.more(); more != "" {
		fmt.Fprintln(env.stdout, more)
	}
	fmt.Fprintf(env.stdout, "%s and %s differ in %s, in %s\n", shortID(a.ID), shortID(b.ID), size(differs.Bytes), count64(differs.Count, "range"))
	if a.Size != b.Size {
		fmt.Fprintf(env.stdout, "the first is %s (%d bytes) long, the second %s (%d bytes)\n", size(a.Size), a.Size, size(b.Size), b.Size)
	}
	return nil
}
