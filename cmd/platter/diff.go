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
		Usage:     "show where two versions differ",
		ArgsUsage: "SNAPSHOT SNAPSHOT",
		Category:  aboutDisks,
		Description: "Compares the maps of two disks; no data are read. Ranges are those of chunks, so they may be somewhat too long, " +
			"never too short. Of more than 100,000 ranges the first are listed.\n\nPartitions are compared in the same way, and ranges are counted from where they begin. Two that do not begin " +
			"at the same byte of their disks are cut in other places: where their maps do not agree, data are read, and ranges are exact " +
			"to 4 KiB.\n\n" + aboutSnapshotArgument + " " + aboutPartArgument,
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
	fmt.Fprintf(env.stdout, "%s and %s differ in %s, in %s\n", shortPart(a, inA), shortPart(b, inB), size(differs.Bytes), count64(differs.Count, "range"))
	if inA.Len != inB.Len {
		fmt.Fprintf(env.stdout, "the first is %s (%d bytes) long, the second %s (%d bytes)\n", size(inA.Len), inA.Len, size(inB.Len), inB.Len)
	}
	return nil
}

// shortPart names a part of a snapshot's disk, for people.
func shortPart(s *snapshot.Snapshot, p snapshot.Part) string {
	if p.Name == "" {
		return shortID(s.ID)
	}
	return shortID(s.ID) + ":" + p.Name
}
