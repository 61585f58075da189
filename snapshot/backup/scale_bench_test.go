package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// fullScale reports whether to use the sizes that the goals name: PLATTER_BENCH=full. Otherwise the benchmarks are
// small enough to run with the others.
func fullScale() bool { return os.Getenv("PLATTER_BENCH") == "full" }

// sparseFile writes total bytes of noise to a new file of size bytes, in runs spread evenly over it. A run depends only
// on its position among the data, so that files of another size hold the same data.
func sparseFile(b *testing.B, size, total, run int64) string {
	path := filepath.Join(b.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() // for b.Fatal; the Close that is checked is below
	if err := f.Truncate(size); err != nil {
		b.Skipf("this file system takes no file of %d bytes: %v", size, err)
	}
	buf, noise := make([]byte, run), image.Sparse{Bytes: total, Fills: []image.Fill{{Off: 0, Len: total, Seed: 1}}}
	for at := int64(0); at < total; at += run {
		if _, err := noise.ReadAt(buf, at); err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(buf, at*(size/total)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkHoles backs up a file of 8 TiB that is nearly all holes, alternating with a file of only its data. more-s is
// how many seconds longer the first takes, comparing the shortest time of each. Fewer and longer runs of data touch
// fewer regions; a region with any data is scanned completely.
func BenchmarkHoles(b *testing.B) {
	const disk = 8 << 40
	total := int64(128 << 20)
	if fullScale() {
		total = 1 << 30
	}
	for _, run := range []int64{diskmap.RegionSize, 16 << 20, 4 << 20, 1 << 20} {
		b.Run(fmt.Sprintf("runs=%dMiB", run>>20), func(b *testing.B) {
			s := &frozen{}
			benchRepo(b, s)
			s.frozen = true
			alone, spread := sparseFile(b, total, total, run), sparseFile(b, disk, total, run)
			shortest := map[string]time.Duration{}
			for b.Loop() {
				for _, path := range []string{alone, spread} {
					if took := backUpFile(b, s, path, total); shortest[path] == 0 || took < shortest[path] {
						shortest[path] = took
					}
				}
			}
			b.ReportMetric(0, "ns/op") // the time of both together, which is meaningless
			b.ReportMetric(shortest[alone].Seconds(), "alone-s")
			b.ReportMetric((shortest[spread] - shortest[alone]).Seconds(), "more-s")
		})
	}
}

// backUpFile backs up a file with data bytes of data to a new index, and returns the time it took.
func backUpFile(b *testing.B, s store.Store, path string, data int64) time.Duration {
	disk, err := image.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	r, snap := snapshottest.Reopen(b, s), &snapshot.Snapshot{Name: "disk", Host: "host"}
	start := time.Now()
	if err := Disk(context.Background(), r, disk, nil, snap, nil); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if snap.Stats.Data < data || snap.Stats.Data > data+data/64 {
		b.Fatalf("%d bytes of data, want about %d", snap.Stats.Data, data)
	}
	return took
}

// BenchmarkNights does what TestNightlyGrowth checks, for a disk of 1 TiB with data in all of its 16384 regions (full),
// or in every 64th.
func BenchmarkNights(b *testing.B) {
	every := int64(64)
	if fullScale() {
		every = 1
	}
	disk := terabyte(func(region int64) bool { return region%every == 0 })
	var unchanged, changed, data int64
	for b.Loop() {
		unchanged, changed, data = nights(b, disk)
	}
	b.ReportMetric(float64(unchanged), "unchanged-B")
	b.ReportMetric(float64(changed-data), "changed-B")
}

// BenchmarkMetadata measures how many bytes the repository of a real disk needs beside its data. PLATTER_BENCH_IMAGE
// names the disk; without it, a generated one is used.
func BenchmarkMetadata(b *testing.B) {
	var disk image.Disk = image.Mem{Data: benchDisk(64 << 20), Holes: true}
	if path := os.Getenv("PLATTER_BENCH_IMAGE"); path != "" {
		f, err := image.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		disk = f
	}
	var c cost
	for b.Loop() {
		s := new(store.Mem)
		r := benchRepo(b, s)
		c = costOf(b, r, s, keep(b, r, disk))
	}
	b.ReportMetric(float64(c.unique)/(1<<20), "unique-MiB")
	b.ReportMetric(float64(c.frames)/(1<<20), "frames-MiB")
	b.ReportMetric(float64(c.meta)/(1<<10), "meta-KiB")
	b.ReportMetric(100*float64(c.meta)/float64(c.unique), "meta-%")
	b.ReportMetric(float64(c.meta)/float64(c.chunks), "meta-B/chunk")
	b.ReportMetric(float64(c.unique)/float64(c.chunks)/1024, "KiB/chunk")
}
