package index

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"github.com/zeebo/blake3"

	"platter/chunk"
	"platter/pack"
)

// scale returns the number of chunks in benchmarks: a million, or with PLATTER_BENCH=full as many as 1 TiB without
// duplicates has.
func scale() int {
	if os.Getenv("PLATTER_BENCH") == "full" {
		return 16 << 20
	}
	return 1 << 20
}

const (
	benchFrame = 11  // chunks in a frame: 1 MiB of 94 KiB each
	benchPack  = 355 // chunks in a pack: 32 MiB
)

// madeUp returns the ID of chunk n: a hash, as IDs are.
func madeUp(n int) chunk.ID {
	return blake3.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

// fill adds packs that hold chunks from to to−1.
func fill(x *Index, from, to int) (packs []PackTable) {
	for at := from; at < to; at += benchPack {
		t := new(pack.Table)
		for n := at; n < min(to, at+benchPack); n++ {
			if (n-at)%benchFrame == 0 {
				t.Frames = append(t.Frames, pack.Frame{Kind: chunk.Data})
			}
			f := &t.Frames[len(t.Frames)-1]
			f.Chunks, f.Raw, f.Sealed = f.Chunks+1, f.Raw+96_000, f.Raw/2+48_000
			t.Chunks = append(t.Chunks, pack.Ref{ID: madeUp(n), Len: 96_000})
		}
		p := Pack{ID: pack.FileID(madeUp(-1 - at)), Size: 16 << 20}
		x.AddPack(p, t)
		packs = append(packs, PackTable{p, nil})
	}
	return packs
}

// heap returns the number of bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// large returns an index whose run has n chunks, and the bytes of heap for each.
func large(b *testing.B, n int) (*Index, *Cache, float64) {
	b.Helper()
	c := &Cache{Folder: b.TempDir(), Key: [32]byte{1}}
	before := heap()
	x := new(Index)
	x.Spill(c)
	packs := fill(x, 0, n)
	x.AddSource(pack.FileID{1}, nil, packs)
	if err := x.Merge(context.Background(), c); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(x.Close)
	return x, c, float64(heap()-before) / float64(n)
}

func BenchmarkLookup(b *testing.B) {
	n := scale()
	x, _, _ := large(b, n)
	recent := 256 << 10
	fill(x, n, n+recent)
	ids := make([]chunk.ID, 1<<16)
	for name, from := range map[string]func(i int) int{
		"run": func(i int) int { return i * 7919 % n }, "recent": func(i int) int { return n + i*7919%recent }, "miss": func(i int) int { return -1<<30 - i },
	} {
		b.Run(name, func(b *testing.B) {
			for i := range ids {
				ids[i] = madeUp(from(i))
			}
			for i := 0; b.Loop(); i++ {
				if _, ok := x.Lookup(ids[i%len(ids)]); ok != (name != "miss") {
					b.Fatal(i)
				}
			}
		})
	}
}

func BenchmarkClaim(b *testing.B) {
	n := scale()
	x, _, _ := large(b, n)
	b.Run("known", func(b *testing.B) {
		id := madeUp(n / 2)
		for b.Loop() {
			x.Claim(id)
		}
	})
	b.Run("new", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			x.Claim(madeUp(-1<<29 - i))
		}
	})
}

// BenchmarkMerge merges a large run with as many chunks as a backup adds before it merges.
func BenchmarkMerge(b *testing.B) {
	n := scale()
	x, c, _ := large(b, n)
	at := n
	for b.Loop() {
		b.StopTimer()
		fill(x, at, at+n/8)
		at += n / 8
		b.StartTimer()
		if err := x.Merge(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenCache(b *testing.B) {
	n := scale()
	x, c, perChunk := large(b, n)
	packs := x.Packs()
	sizes := map[pack.FileID]int64{}
	for _, p := range packs {
		sizes[p.ID] = p.Size
	}
	for b.Loop() {
		y := Open(c)
		y.Reconcile(func(pack.FileID) (bool, bool) { return true, true }, func(id pack.FileID) (int64, bool) { size, ok := sizes[id]; return size, ok })
		if y.Stored() != n || len(y.Packs()) != len(packs) {
			b.Fatalf("%d chunks in %d packs", y.Stored(), len(y.Packs()))
		}
		y.Close()
	}
	b.ReportMetric(perChunk, "heap-B/chunk")
}
