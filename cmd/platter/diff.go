package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/snapshot"
)

type diffOptions struct {
	common
	ranges bool
}

func diffCommand(env *env) *cli.Command {
	var opts diffOptions
	return &cli.Command{
		Name:      "diff",
		Usage:     "show where two versions differ",
		ArgsUsage: "SNAPSHOT SNAPSHOT",
		Category:  aboutDisks,
		Description: "Compares two versions, of one disk or of two. If more than a few byte ranges differ, it prints a summary: by the partitions of the second " +
			"version, or by equal parts of a disk without partitions. --json always lists the ranges, up to 100,000.\n\n" +
			"The comparison uses the maps of the disks, and reads no data. The bounds are those of chunks, so a range may be too long, but is never too short.\n\n" +
			"Partitions are compared in the same way, with ranges counted from the start of the partition. If two partitions start at different offsets, " +
			"data is read where their maps differ, and ranges are exact to 4 KiB.\n\n" +
			aboutSnapshotArgument + " " + aboutPartArgument,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "ranges", Usage: "list every range, not a summary by partition", Destination: &opts.ranges, DisableDefaultText: true},
		}, repoFlags(&opts.common)...),
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
	a, inA, err := env.findPart(ctx, opts.common, r, all, args[0])
	if err != nil {
		return err
	}
	b, inB, err := env.findPart(ctx, opts.common, r, all, args[1])
	if err != nil {
		return err
	}
	differs, err := snapshot.Diff(ctx, r, a, b, inA, inB)
	if err != nil {
		return err
	}
	ranges := rangesOf(differs, maxDiffRanges)
	if opts.json {
		return env.printJSON(struct {
			A       string `json:"a"`
			B       string `json:"b"`
			PartA   string `json:"part_a,omitempty"`
			PartB   string `json:"part_b,omitempty"`
			SizeA   int64  `json:"size_a"`
			SizeB   int64  `json:"size_b"`
			Differs int64  `json:"differs"`
			rangesJSON
		}{a.ID.String(), b.ID.String(), inA.Name, inB.Name, inA.Len, inB.Len, differs.Bytes, ranges})
	}
	hint := ""
	if differs.Count <= maxDiffLines || opts.ranges {
		printRanges(env, ranges)
	} else {
		whole := b.Anatomy
		if inA.Name != "" || inB.Name != "" {
			whole = nil // a partition has no partitions
		}
		printDiffSummary(env, whole, cmp.Or(inB.Name, "disk"), max(inA.Len, inB.Len), ranges)
		hint = "; --ranges lists them"
	}
	fmt.Fprintf(env.stdout, "%s and %s differ in %s, in %s%s\n", shortPart(a, inA), shortPart(b, inB), size(differs.Bytes), count64(differs.Count, "range"), hint)
	if inA.Len != inB.Len {
		fmt.Fprintf(env.stdout, "the first is %s (%d bytes) long, the second %s (%d bytes)\n", size(inA.Len), inA.Len, size(inB.Len), inB.Len)
	}
	return nil
}

// shortPart names a part of the disk of a snapshot, for display.
func shortPart(s *snapshot.Snapshot, p snapshot.Part) string {
	if p.Name == "" {
		return shortID(s.ID)
	}
	return shortID(s.ID) + ":" + p.Name
}
