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
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/restore"
)

// badMapLists is said of ranges that are not listed.
const badMapLists = ", which 'show --bad-map FILE' lists"

func badMapFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "bad-map", Usage: "write what could not be read to `FILE`, as a mapfile of GNU ddrescue", TakesFile: true, Destination: to}
}

// checkBadMap returns an error where a bad map must not be written. A mapfile of ddrescue's own is hours of work, and often
// lies beside the disk.
func checkBadMap(path string) error {
	if err := localFile("--bad-map", path); err != nil {
		return err
	}
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
	err = restore.ReplaceFile(path, nil, func(f *os.File) error {
		return image.WriteRescueMap(f, buildVersion().Version, s.Size, lostExtents(lost))
	})
	if err != nil {
		return fmt.Errorf("write bad map to %s: %w", path, err)
	}
	return nil
}

func lostExtents(lost *diskmap.Runs) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for q := range lost.All() {
			if !yield(image.Extent{Off: q.Off, Len: q.Len}, nil) {
				return
			}
		}
	}
}
