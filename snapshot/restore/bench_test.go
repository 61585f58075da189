package restore

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/repo"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// restoreDisk returns a disk of 192 MiB, about half of it noise and text, in a repository in a folder.
func restoreDisk(b *testing.B) ([]byte, *repo.Repo, *snapshot.Snapshot) {
	b.Helper()
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 9)), 192<<20)
	local := storetest.OpenLocal(b, b.TempDir(), nil)
	snap := backuptest.Keep(b, snapshottest.Repo(b, local), image.Mem{Data: disk, Holes: true})
	b.SetBytes(snap.Stats.Data)
	b.ReportAllocs()
	return disk, snapshottest.Reopen(b, local), snap
}

func BenchmarkRestore(b *testing.B) {
	_, r, snap := restoreDisk(b)
	for name, o := range map[string]Options{"plain": {Replace: true}, "verify": {Replace: true, Verify: true}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(snap.Stats.Data)
			b.ReportAllocs()
			target := filepath.Join(b.TempDir(), "disk")
			for b.Loop() {
				if _, err := ToFile(context.Background(), r, snap, snap.Whole(), target, o, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStream(b *testing.B) {
	_, r, snap := restoreDisk(b)
	for b.Loop() {
		if err := ToStream(context.Background(), r, snap, snap.Whole(), io.Discard, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInPlace restores onto the disk after one percent of it was overwritten.
func BenchmarkInPlace(b *testing.B) {
	disk, r, snap := restoreDisk(b)
	path := snapshottest.WriteFile(b, disk)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	scribble := make([]byte, 1<<20)
	for b.Loop() {
		b.StopTimer()
		for off := range int64(2) {
			if _, err := f.WriteAt(scribble, (30+off*100)<<20); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		if _, err := ToFile(context.Background(), r, snap, snap.Whole(), path, Options{InPlace: true}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
