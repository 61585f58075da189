package overlay

import (
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"platter/snapshot/image"
)

const benchSize = 1 << 30

func benchDisk(b *testing.B) *Disk {
	d, err := Create(filepath.Join(b.TempDir(), "overlay"), image.Sparse{Bytes: 1 << 40}, Binding{})
	must(b, err)
	b.Cleanup(func() { must(b, d.Close()) })
	return d
}

// BenchmarkWrite writes 4 KiB at random places of 1 GiB, and syncs every 1000 writes.
func BenchmarkWrite(b *testing.B) {
	d := benchDisk(b)
	rng := rand.New(rand.NewPCG(1, 1))
	p := make([]byte, unit)
	b.SetBytes(unit)
	i := 0
	for b.Loop() {
		if _, err := d.WriteAt(p, rng.Int64N(benchSize/unit)*unit); err != nil {
			b.Fatal(err)
		}
		if i++; i%1000 == 0 {
			must(b, d.Sync())
		}
	}
}

// BenchmarkRead reads 4 KiB at random places. Half of them were written before.
func BenchmarkRead(b *testing.B) {
	d := benchDisk(b)
	rng := rand.New(rand.NewPCG(1, 1))
	p := make([]byte, unit)
	const blocks = 1 << 14
	for range blocks / 2 {
		_, err := d.WriteAt(p, rng.Int64N(blocks)*unit)
		must(b, err)
	}
	b.SetBytes(unit)
	for b.Loop() {
		if _, err := d.ReadAt(p, rng.Int64N(blocks)*unit); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSequential writes 1 MiB after 1 MiB.
func BenchmarkSequential(b *testing.B) {
	d := benchDisk(b)
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	off := int64(0)
	for b.Loop() {
		_, err := d.WriteAt(p, off%benchSize)
		must(b, err)
		off += 1 << 20
	}
}

// BenchmarkOpen opens an overlay of 1 GiB in scattered blocks of 1 TiB. The file's blocks are a hole.
func BenchmarkOpen(b *testing.B) {
	const size, blocks = 1 << 40, 1 << 18
	rng := rand.New(rand.NewPCG(1, 1))
	f := &memFile{}
	base := image.Sparse{Bytes: size}
	d, err := create(f, base, Binding{}, newJournal)
	must(b, err)
	for range blocks {
		d.units.end++
		d.enter(run{rng.Int64N(size / unit), 1, d.units.end - 1})
	}
	f.data = append(f.data, make([]byte, d.units.end*unit-int64(len(f.data)))...)
	must(b, d.Sync())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d, err = open(f, base, Binding{})
	must(b, err)
	d.changed = runs{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		_, err = open(f, base, Binding{})
		must(b, err)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-heap")
	runtime.KeepAlive(d)
}
