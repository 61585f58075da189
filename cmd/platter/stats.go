package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"platter/snapshot"
)

type statsOptions struct{ common }

func statsCommand(env *env) *cli.Command {
	var opts statsOptions
	return &cli.Command{
		Name:     "stats",
		Usage:    "print sizes: of the repository, and of what each version adds to it",
		Category: aboutRepository,
		Description: "Lists the versions: the size of each disk, its data without zeros, and the data that no other version has, which a prune could delete if the version were forgotten. " +
			"Then it prints the sums, and how much deduplication and compression save.",
		Flags:  repoFlags(&opts.common),
		Action: action(env, &opts, runStats),
	}
}

// statsJSON is what stats --json prints; sizes are in bytes.
type statsJSON struct {
	Disks       int64          `json:"disks"`  // size of all versions together
	Data        int64          `json:"data"`   // without zeros
	Unique      int64          `json:"unique"` // each chunk once
	Stored      int64          `json:"stored"` // packs
	Packs       int            `json:"packs"`
	Dedup       float64        `json:"dedup_factor"`       // data to unique
	Compression float64        `json:"compression_factor"` // unique to stored
	Snapshots   []snapshotCost `json:"snapshots"`
}

type snapshotCost struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Time string `json:"time"`
	Size int64  `json:"size"`
	Data int64  `json:"data"`
	Only int64  `json:"only"` // bytes of chunks that no other version uses
}

func runStats(ctx context.Context, env *env, opts statsOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	r, all, err := openSnapshots(ctx, env, opts.common)
	if err != nil {
		return err
	}
	defer env.warnHealed(opts.common, r)
	usage, err := snapshot.Measure(ctx, r, all)
	if err != nil {
		return err
	}
	out := statsJSON{Disks: usage.Size, Data: usage.Data, Unique: usage.Unique, Snapshots: []snapshotCost{}}
	for _, p := range r.Index().Packs() {
		out.Stored += p.Size
		out.Packs++
	}
	out.Dedup, out.Compression = factor(out.Data, out.Unique), factor(out.Unique, out.Stored)
	table := newTable("ID", "Time", "Name", ">Disk", ">Data", ">Only here")
	for i, s := range all {
		c := snapshotCost{s.ID.String(), s.Name, localTime(s.Time), s.Size, s.Stats.Data, usage.Only[i]}
		out.Snapshots = append(out.Snapshots, c)
		table.row(shortID(s.ID), c.Time, c.Name, size(c.Size), size(c.Data), size(c.Only))
	}
	if opts.json {
		return env.printJSON(out)
	}
	if len(all) > 0 {
		table.print(env)
		fmt.Fprintln(env.stdout)
	}
	fmt.Fprintf(env.stdout, "disks        %s in %s\n", size(out.Disks), count(len(all), "snapshot"))
	fmt.Fprintf(env.stdout, "data         %s without zeros\n", size(out.Data))
	fmt.Fprintf(env.stdout, "unique       %s, each chunk once: %.2f times less\n", size(out.Unique), out.Dedup)
	fmt.Fprintf(env.stdout, "stored       %s in %s: %.2f times less again\n", size(out.Stored), count(out.Packs, "pack"), out.Compression)
	return nil
}

// factor is how many times smaller b is than a.
func factor(a, b int64) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}
