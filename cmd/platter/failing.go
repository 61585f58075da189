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

// failingOptions say what to do about a disk that cannot be read in places.
type failingOptions struct {
	strict            bool
	rescueMap, badMap string
	retry             time.Duration
}

// defaultPatience is for a night.
const defaultPatience = 8 * time.Hour

func failingFlags(o *failingOptions) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "strict", Usage: "fail, and store nothing, if any sector cannot be read", Destination: &o.strict, DisableDefaultText: true},
		&cli.DurationFlag{Name: "patience", Usage: "spend no more than `TIME` in total on retries; after that, skip 64 KiB around each unreadable sector. 0 means no limit", Value: defaultPatience, DefaultText: "8h", Destination: &o.retry},
		&cli.StringFlag{Name: "rescue-map", Usage: "read only what `FILE`, a mapfile of GNU ddrescue, marks as rescued; SOURCE is the disk or the copy that ddrescue made", TakesFile: true, Destination: &o.rescueMap},
		badMapFlag(&o.badMap),
	}
}

// check looks at what can be wrong before the disk is read.
func (o failingOptions) check(opts backupOptions, path string) error {
	switch {
	case o.retry < 0:
		return usagef("--patience %v: want a time such as 30m, or 0", o.retry)
	case path == stdio && (o.rescueMap != "" || o.badMap != ""):
		return usagef("a stream has no places to leave out: --rescue-map and --bad-map go with a disk")
	case o.badMap != "" && opts.dryRun:
		return usagef("--bad-map tells of what was kept, which a dry run does not")
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

// tellUnreadable tells what of a disk could not be read, if there is any.
func tellUnreadable(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	if src.retrying != nil && src.retrying.GaveUp() {
		env.warn(opts.common, "what cannot be read took longer than %v: after that, bad sectors were not told from their neighbours; "+
			"--patience gives it more time", opts.failing.retry)
	}
	if err := writeBadMap(ctx, r, s, opts.failing.badMap); err != nil {
		return err
	}
	if s.Unreadable == 0 {
		return nil
	}
	incomplete := fmt.Errorf("%w: %s of the disk could not be read", errIncomplete, size(s.Unreadable))
	if opts.dryRun {
		return incomplete // the map that says where is not kept
	}
	lost, err := lostRanges(ctx, r, s, opts.common)
	if err != nil {
		return err
	}
	lost.each(" could not be read, and are kept as zeros", func(text string) { env.warn(opts.common, "%s", text) })
	return incomplete
}
