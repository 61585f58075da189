package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// maxLostLines is how many of the ranges that a disk has lost are named to people; --bad-map takes all of them.
const maxLostLines = 50

// lostJSON is what of a disk is known to be lost.
type lostJSON struct {
	Lost      []snapshot.Range `json:"lost,omitempty"`
	MoreLost  int64            `json:"more_lost,omitempty"` // ranges, which are not listed
	MoreBytes int64            `json:"more_bytes,omitempty"`
}

// lostRanges returns which ranges of a disk are known to be lost. Few disks have any; of all others nothing more is read.
func lostRanges(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, c common) (lost lostJSON, err error) {
	all, err := allLost(ctx, r, s)
	if err != nil {
		return lost, err
	}
	most := maxLostLines
	if c.json {
		most = maxLostRanges
	}
	lost.Lost, lost.MoreLost, lost.MoreBytes = all.First(most)
	return lost, nil
}

func allLost(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot) (*snapshot.Runs, error) {
	if s.Unreadable == 0 {
		return new(snapshot.Runs), nil
	}
	if err := r.LoadIndex(ctx); err != nil {
		return nil, err
	}
	return snapshot.Lost(ctx, r, s)
}

// each words the ranges, one by one, each with what is to be said of it.
func (l lostJSON) each(what string, say func(string)) {
	for _, q := range l.Lost {
		say(fmt.Sprintf("bytes %d to %d%s", q.Off, q.Off+q.Len, what))
	}
	if l.MoreLost > 0 {
		say(fmt.Sprintf("and %s, of %s, which 'show --bad-map FILE' lists", count64(l.MoreLost, "more range"), size(l.MoreBytes)))
	}
}

// warnOfLost names the ranges of what was restored that are zeros because they were lost.
func warnOfLost(ctx context.Context, env *env, c common, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part) error {
	all, err := allLost(ctx, r, s)
	if err != nil {
		return err
	}
	total, named := int64(0), 0
	for q := range all.All() {
		from, to := max(q.Off, part.Off), min(q.Off+q.Len, part.Off+part.Len)
		if from >= to {
			continue
		}
		if named++; named <= maxLostLines {
			env.warn(c, "bytes %d to %d were lost before this version was kept or repaired, and are zeros", from, to)
		}
		total += to - from
	}
	switch {
	case total == 0:
		return nil
	case named > maxLostLines:
		env.warn(c, "and %s, which 'show --bad-map FILE' lists", count(named-maxLostLines, "more range"))
	}
	return fmt.Errorf("%w: %s of the disk are lost", errIncomplete, size(total))
}

func badMapFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "bad-map", Usage: "write what could not be read to `FILE`, as a mapfile of GNU ddrescue", TakesFile: true, Destination: to}
}

// checkBadMap returns an error where a bad map must not be written. A mapfile of ddrescue's own is hours of work, and often
// lies beside the disk.
func checkBadMap(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("--bad-map: make its folder first: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("--bad-map: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("--bad-map %s: it is no regular file", path)
	}
	head := make([]byte, len(image.RescueMapHead))
	if n, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("--bad-map: %w", err)
	} else if n > 0 && string(head[:n]) != image.RescueMapHead {
		return fmt.Errorf("--bad-map %s: the file is there, and platter did not write it: choose another name", path)
	}
	return nil
}

// writeBadMap writes which ranges of a disk are lost, if path is not empty.
func writeBadMap(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, path string) (err error) {
	if path == "" {
		return nil
	}
	if err := checkBadMap(path); err != nil {
		return err
	}
	lost, err := allLost(ctx, r, s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".partial-*")
	if err != nil {
		return fmt.Errorf("write bad map: %w", err)
	}
	err = image.WriteRescueMap(f, buildVersion().Version, s.Size, lostExtents(lost))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write bad map: %w", err), removeIfThere(f.Name()))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func lostExtents(lost *snapshot.Runs) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for q := range lost.All() {
			if !yield(image.Extent{Off: q.Off, Len: q.Len}, nil) {
				return
			}
		}
	}
}
