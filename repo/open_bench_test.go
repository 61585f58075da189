package repo

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/zeebo/blake3"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// scale returns the number of chunks in the artificial repositories of benchmarks: a million, or with
// PLATTER_BENCH=full as many as 1 TiB without duplicates has.
func scale() int {
	if os.Getenv("PLATTER_BENCH") == "full" {
		return 16 << 20
	}
	return 1 << 20
}

const (
	benchFrame = 11  // chunks per frame: 1 MiB of 94 KiB each
	benchPack  = 355 // chunks per pack: 32 MiB
)

func madeUp(n int) chunk.ID {
	return blake3.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// madeUpPack makes the table of a pack with the chunks from to to, and the pack as a sparse file.
func madeUpPack(b *testing.B, folder string, from, to int) index.PackTable {
	t := new(pack.Table)
	for n := from; n < to; n++ {
		if (n-from)%benchFrame == 0 {
			t.Frames = append(t.Frames, pack.Frame{Kind: chunk.Data})
		}
		f := &t.Frames[len(t.Frames)-1]
		f.Chunks, f.Raw, f.Sealed = f.Chunks+1, f.Raw+96_000, f.Raw/2+48_000
		t.Chunks = append(t.Chunks, pack.Ref{ID: madeUp(n), Len: 96_000})
	}
	p := index.Pack{ID: pack.FileID(madeUp(-1 - from)), Size: 16 << 20}
	name := filepath.Join(folder, filepath.FromSlash(layout.PackName(p.ID)))
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.WriteFile(name, nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(name, p.Size)
	}
	if err != nil {
		b.Fatal(err)
	}
	return index.PackTable{Pack: p, Table: t}
}

// largeRepo makes a repository of n chunks in a folder.
func largeRepo(b *testing.B, n int) store.Store {
	b.Helper()
	folder := b.TempDir()
	s := storetest.OpenLocal(b, folder, nil)
	r := testRepo(b, s)
	var tables []index.PackTable
	for at := 0; at < n; at += benchPack {
		tables = append(tables, madeUpPack(b, folder, at, min(n, at+benchPack)))
		if fullIndex(tables) || at+benchPack >= n {
			putIndexFile(b, r, &index.File{Packs: tables})
			tables = nil
		}
	}
	return s
}

func openCached(b *testing.B, s store.Store, folder string) *Repo {
	b.Helper()
	r, err := Open(context.Background(), s, []byte("pw"))
	if err != nil {
		b.Fatal(err)
	}
	if folder != "" {
		r.UseCache(folder)
	}
	if err := r.LoadIndex(context.Background()); err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkLoadIndex opens a large repository on a local disk: without a cache, with an empty cache, and with a full
// one. heap-MiB is the heap after collection. peak-MiB is the most that the heap took from the system.
func BenchmarkLoadIndex(b *testing.B) {
	n := scale()
	s := largeRepo(b, n)
	warm := b.TempDir()
	openCached(b, s, warm)
	for name, folder := range map[string]func() string{
		"none": func() string { return "" }, "cold": func() string { return b.TempDir() }, "warm": func() string { return warm },
	} {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			var r *Repo
			for b.Loop() {
				b.StopTimer()
				r = nil
				dir := folder()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				r = openCached(b, s, dir)
			}
			runtime.ReadMemStats(&after)
			runtime.GC()
			var kept runtime.MemStats
			runtime.ReadMemStats(&kept)
			b.ReportMetric(float64(after.HeapSys-after.HeapReleased)/(1<<20), "peak-MiB")
			b.ReportMetric(float64(kept.HeapAlloc)/(1<<20), "heap-MiB")
			b.ReportMetric(float64(kept.HeapAlloc-min(kept.HeapAlloc, before.HeapAlloc))/float64(n), "heap-B/chunk")
			for _, i := range []int{0, n / 2, n - 1} {
				if _, ok := r.Index().Lookup(madeUp(i)); !ok {
					b.Fatalf("chunk %d is not found", i)
				}
			}
		})
	}
}

// BenchmarkSnapshots lists and reads 5,000 snapshots, with and without a cache.
func BenchmarkSnapshots(b *testing.B) {
	const n = 5000
	s := new(store.Mem)
	r := testRepo(b, s)
	for i := range n {
		if _, err := putSnapshot(context.Background(), r, fmt.Appendf(nil, `{"version":1,"name":"disk %d"}`, i)); err != nil {
			b.Fatal(err)
		}
	}
	warm := b.TempDir()
	for name, folder := range map[string]string{"none": "", "warm": warm} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r := openCached(b, s, folder)
				ids, err := r.ListSnapshots(context.Background())
				if err != nil || len(ids) != n {
					b.Fatal(len(ids), err)
				}
				for _, id := range ids {
					if _, err := r.GetSnapshot(context.Background(), id); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
