package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// stdio stands for standard input as a source and for standard output as a target.
const stdio = "-"

// failingOptions say what to do about a disk that cannot be read in places.
type failingOptions struct {
	strict            bool
	rescueMap, badMap string
	patience          time.Duration
}

// defaultPatience is for a night.
const defaultPatience = 8 * time.Hour

func failingFlags(o *failingOptions) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "strict", Usage: "fail, and keep nothing, if something cannot be read", Destination: &o.strict, DisableDefaultText: true},
		&cli.DurationFlag{Name: "patience", Usage: "wait no longer than `TIME` in all for what cannot be read at once; after that, 64 KiB go with a bad sector. 0 is for ever", Value: defaultPatience, DefaultText: "8h", Destination: &o.patience},
		&cli.StringFlag{Name: "rescue-map", Usage: "leave alone what `FILE`, a mapfile of GNU ddrescue, does not say was read; SOURCE is the disk, or what ddrescue made of it", TakesFile: true, Destination: &o.rescueMap},
		badMapFlag(&o.badMap),
	}
}

// check looks at what can be wrong before the disk is read.
func (o failingOptions) check(opts backupOptions, path string) error {
	switch {
	case o.patience < 0:
		return usagef("--patience %v: want a time such as 30m, or 0", o.patience)
	case path == stdio && (o.rescueMap != "" || o.badMap != ""):
		return usagef("a stream has no places to leave out: --rescue-map and --bad-map go with a disk")
	case o.badMap != "" && opts.dryRun:
		return usagef("--bad-map tells of what was kept, which a dry run does not")
	case o.badMap != "":
		return checkBadMap(o.badMap)
	}
	return nil
}

// A source is a disk to be read.
type source struct {
	path   string // as it was given
	backup func(ctx context.Context, r *repo.Repo, parent, s *snapshot.Snapshot, p *repo.Progress) error
	close  func() error
	file   *image.File    // nil for a stream
	disk   *image.Patient // nil for a stream
}

func openSource(ctx context.Context, env *env, opts backupOptions, path string, s *snapshot.Snapshot) (*source, error) {
	s.Source.Path = absolute(path)
	if path == stdio {
		s.Source.Kind = "stream"
		stream, err := image.OpenStream(ctx, env.stdin)
		if err != nil {
			return nil, err
		}
		return &source{path: path, backup: func(ctx context.Context, r *repo.Repo, parent, s *snapshot.Snapshot, p *repo.Progress) error {
			return snapshot.BackupStream(ctx, r, stream, parent, s, p)
		}, close: stream.Close}, nil
	}
	known, err := readRescueMap(opts.failing.rescueMap)
	if err != nil {
		return nil, err
	}
	file, err := image.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; reading disks takes root, or the group that owns them", err)
	}
	if err != nil {
		return nil, err
	}
	disk, err := image.NewPatient(file, known, image.Patience{Strict: opts.failing.strict, Longest: opts.failing.patience})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--rescue-map %s: %w", opts.failing.rescueMap, err), file.Close())
	}
	id := file.Identity()
	s.Source.Kind = file.Kind
	s.Source.Model, s.Source.Serial, s.Source.WWN = id.Model, id.Serial, id.WWN
	s.Source.SectorSize, s.Source.PhysicalSectorSize = id.SectorSize, id.PhysicalSectorSize
	return &source{path: path, backup: func(ctx context.Context, r *repo.Repo, parent, s *snapshot.Snapshot, p *repo.Progress) error {
		return snapshot.Backup(ctx, r, disk, parent, s, p)
	}, close: file.Close, file: file, disk: disk}, nil
}

// absolute is a path for people who are in another folder.
func absolute(path string) string {
	if path == stdio {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
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

// warnOfUses says who may write to a device while it is read. That it cannot be found out is no reason to keep nothing.
func (src *source) warnOfUses(env *env, c common) {
	if src.file == nil || src.file.Kind != image.KindDevice {
		return
	}
	uses, err := src.file.Uses()
	if err != nil {
		env.detail(c, "%v", err)
	}
	var writable []string
	for _, use := range uses {
		if use.Writable {
			writable = append(writable, use.String())
		}
	}
	if len(writable) > 0 {
		env.warn(c, "%s: what is written while it is read makes a mixture of old and new. Back up a snapshot of it (lvcreate -s, zfs snapshot), or "+
			"have it hold still meanwhile (fsfreeze); --before and --after can do and undo that", strings.Join(writable, ", "))
	}
}

// tellUnreadable tells what of a disk could not be read, if there is any.
func tellUnreadable(ctx context.Context, env *env, opts backupOptions, r *repo.Repo, src *source, s *snapshot.Snapshot) error {
	if src.disk != nil && src.disk.Impatient() {
		env.warn(opts.common, "what cannot be read took longer than %v: after that, bad sectors were not told from their neighbours; "+
			"--patience gives it more time", opts.failing.patience)
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

// deviceText words what a device says of itself.
func deviceText(s snapshot.Source) string {
	var words []string
	for _, w := range [][2]string{{"", s.Model}, {"serial ", s.Serial}, {"WWN ", s.WWN}} {
		if w[1] != "" {
			words = append(words, w[0]+w[1])
		}
	}
	if s.SectorSize > 0 {
		words = append(words, fmt.Sprintf("sectors of %d bytes", s.SectorSize))
	}
	if s.PhysicalSectorSize > s.SectorSize {
		words = append(words, fmt.Sprintf("%d on the medium", s.PhysicalSectorSize))
	}
	return strings.Join(words, ", ")
}
