package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// failingOptions say how to read a disk with unreadable sectors.
type failingOptions struct {
	strict            bool
	rescueMap, badMap string
	retry             time.Duration
}

// defaultPatience fits into a night.
const defaultPatience = 8 * time.Hour

func failingFlags(o *failingOptions) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "strict", Usage: "fail, and store nothing, if any sector cannot be read", Destination: &o.strict, DisableDefaultText: true},
		&cli.DurationFlag{Name: "patience", Usage: "spend no more than `TIME` in total on retries; after that, skip 64 KiB around each unreadable sector. 0 means no limit", Value: defaultPatience, DefaultText: "8h", Destination: &o.retry},
		&cli.StringFlag{Name: "rescue-map", Usage: "read only what `FILE`, a mapfile of GNU ddrescue, marks as rescued; SOURCE is the disk or the copy that ddrescue made", TakesFile: true, Destination: &o.rescueMap},
		badMapFlag(&o.badMap),
	}
}

// check returns an error for mistakes that show before the disk is read.
func (o failingOptions) check(opts backupOptions, path string) error {
	switch {
	case o.retry < 0:
		return usagef("--patience %v: give a time such as 30m, or 0", o.retry)
	case path == stdio && (o.rescueMap != "" || o.badMap != ""):
		return usagef("--rescue-map and --bad-map need a disk: a stream cannot be read in places")
	case o.badMap != "" && opts.dryRun:
		return usagef("--bad-map describes the stored version, and a dry run stores none")
	case o.badMap != "":
		return checkBadMap(o.badMap)
	}
	return nil
}

// readRescueMap reads a mapfile; nil for none.
func readRescueMap(path string) (*image.RescueMap, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--rescue-map: %w", err)
	}
	defer f.Close()
	known, err := image.ReadRescueMap(f)
	if err != nil {
		return nil, fmt.Errorf("--rescue-map %s: %w", path, err)
	}
	return known, nil
}

// tellUnreadable warns of ranges that could not be read, and returns an error that wraps errIncomplete if there are any.
func tellUnreadable(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	if src.retrying != nil && src.retrying.GaveUp() {
		env.warn(opts.common, "retries took longer than %v: after that, 64 KiB around each unreadable sector were skipped; "+
			"--patience allows more time", opts.failing.retry)
	}
	if err := writeBadMap(ctx, r, s, opts.failing.badMap); err != nil {
		return err
	}
	if s.Unreadable == 0 {
		return nil
	}
	incomplete := fmt.Errorf("%w: %s of the disk could not be read", errIncomplete, size(s.Unreadable))
	if opts.dryRun {
		return incomplete // there is no map that says where
	}
	lost, err := lostRanges(ctx, r, s, opts.common)
	if err != nil {
		return err
	}
	lost.each(" could not be read, and are stored as zeros", func(text string) { env.warn(opts.common, "%s", text) })
	return incomplete
}
