package snapshot_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"platter/repo/store"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// phrases is a disk of size bytes without zeros that compresses to about a half.
func phrases(size int) []byte {
	disk, rnd, noise := make([]byte, size), rand.New(rand.NewPCG(5, 6)), make([]byte, 1024*12)
	rand.NewChaCha8([32]byte{7}).Read(noise) // never fails
	for at := 0; at+16 <= size; at += 16 {
		copy(disk[at:], noise[rnd.IntN(1024)*12:][:12])
		binary.LittleEndian.PutUint32(disk[at+12:], rnd.Uint32())
	}
	return disk
}

// BenchmarkDiskReadAt reads a snapshot of 160 MiB from a repository in memory as a mounted disk is read.
func BenchmarkDiskReadAt(b *testing.B) {
	r := snapshottest.Repo(b, new(store.Mem))
	s := backuptest.Keep(b, r, image.Mem{Data: phrases(160 << 20)})
	for _, bench := range []struct {
		name   string
		size   int
		random bool
	}{
		{"sequential-128KiB", 128 << 10, false},
		{"sequential-4KiB", 4 << 10, false},
		{"random-4KiB", 4 << 10, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d, err := s.Open(b.Context(), r)
			if err != nil {
				b.Fatal(err)
			}
			p, rnd, places := make([]byte, bench.size), rand.New(rand.NewPCG(1, 2)), int(s.Size)/bench.size
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for at := 0; b.Loop(); at++ {
				if bench.random {
					at = rnd.IntN(places)
				}
				if _, err := d.ReadAt(p, int64(at%places*bench.size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
