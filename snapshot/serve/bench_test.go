package serve_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"platter/repo/store"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/serve"
	"platter/snapshot/snapshottest"
)

// BenchmarkServe reads a version of 512 MiB, from a repository in memory, as a mount does.
func BenchmarkServe(b *testing.B) {
	r := snapshottest.Repo(b, new(store.Mem))
	s := backuptest.Keep(b, r, image.Mem{Data: snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 2)), 512<<20)})
	for _, bench := range []struct {
		name   string
		size   int64
		random bool
		depth  int
	}{
		{"sequential-1MiB", 1 << 20, false, 1},
		{"sequential-128KiB", 128 << 10, false, 1},
		{"random-4KiB", 4 << 10, true, 1},
		{"random-4KiB-depth-16", 4 << 10, true, 16},
	} {
		b.Run(bench.name, func(b *testing.B) {
			l := serve.New(b.Context(), r, serve.Options{Memory: 64 << 20})
			defer l.Close()
			d, err := l.Open(b.Context(), s)
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			places := d.Size() / bench.size
			var at atomic.Int64
			b.SetBytes(bench.size)
			b.SetParallelism(max(1, bench.depth/2))
			read := func(p []byte, next int64) {
				if bench.random {
					next = rand.Int64N(places)
				}
				if _, err := d.ReadAt(p, next%places*bench.size); err != nil {
					b.Error(err)
				}
			}
			if bench.depth == 1 {
				p := make([]byte, bench.size)
				for b.Loop() {
					read(p, at.Add(1))
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				p := make([]byte, bench.size)
				for pb.Next() {
					read(p, at.Add(1))
				}
			})
		})
	}
}
