package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// A frozen store drops what is put into it. So LoadIndex always finds the same state, and nothing grows between rounds.
type frozen struct {
	store.Mem
	frozen bool // set only while nothing is put
}

func (f *frozen) Put(ctx context.Context, name string, data []byte) error {
	if f.frozen {
		return ctx.Err()
	}
	return f.Mem.Put(ctx, name, data)
}

// benchRepo makes a repository with the default settings.
func benchRepo(b testing.TB, s store.Store) *repo.Repo {
	return repotest.New(b, s, repo.DefaultSettings)
}

// benchDisk has files of 4 KiB to 2 MiB at block bounds, with free space between them. Half of it compresses to at most
// a half; a fifth is noise, a fifth zeros.
func benchDisk(size int) []byte {
	disk, rnd := make([]byte, size), rand.New(rand.NewPCG(5, 6))
	noise, phrases := rand.NewChaCha8([32]byte{7}), make([]byte, 1024*12)
	noise.Read(phrases) // never fails
	for off := 0; off < size; {
		file := disk[off:min(off+(1+rnd.IntN(512))*4096, size)]
		switch kind := rnd.IntN(10); {
		case kind < 2:
			noise.Read(file)
		case kind < 8:
			for at := 0; at+16 <= len(file); at += 16 {
				phrase := min(rnd.IntN(1024), rnd.IntN(1024)) * 12
				copy(file[at:], phrases[phrase:phrase+12])
				binary.LittleEndian.PutUint32(file[at+12:], rnd.Uint32()>>rnd.IntN(32))
			}
		}
		off += len(file)
	}
	return disk
}

// benchEdit returns the disk with one percent of it new, in runs of 64 KiB.
func benchEdit(disk []byte) []byte {
	const run = 64 << 10
	out, rnd, noise := bytes.Clone(disk), rand.New(rand.NewPCG(8, 9)), rand.NewChaCha8([32]byte{10})
	for range len(disk) / run / 100 {
		off := rnd.IntN(len(disk)/run) * run
		noise.Read(out[off : off+run]) // never fails
	}
	return out
}

// BenchmarkBackup backs up a disk of 256 MiB to a repository in memory: the first time, unchanged, and with one percent
// of it new. Bytes per second are those of the disk. Opening the repository and loading its index is not timed.
func BenchmarkBackup(b *testing.B) {
	disk := benchDisk(256 << 20)
	changed := benchEdit(disk)
	empty, full := new(frozen), new(frozen)
	benchRepo(b, empty)
	before := keep(b, benchRepo(b, full), image.Mem{Data: disk})
	empty.frozen, full.frozen = true, true
	for _, bench := range []struct {
		name   string
		store  *frozen
		disk   []byte
		parent *snapshot.Snapshot
	}{
		{"first", empty, disk, nil},
		{"unchanged", full, disk, before},
		{"unchanged-unguided", full, disk, nil},
		{"hundredth-new", full, changed, before},
	} {
		for cores := 1; cores <= 2; cores++ {
			b.Run(fmt.Sprintf("%s/cores=%d", bench.name, cores), func(b *testing.B) {
				// One worker cuts on one core, while an encoder and the store work on others.
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				r := snapshottest.Reopen(b, bench.store)
				r.SetWorkers(cores)
				b.SetBytes(int64(len(bench.disk)))
				b.ReportAllocs()
				var s *snapshot.Snapshot
				for b.Loop() {
					b.StopTimer()
					if err := r.LoadIndex(context.Background()); err != nil {
						b.Fatal(err)
					}
					s = &snapshot.Snapshot{Name: "disk", Host: "host"}
					b.StartTimer()
					if err := Disk(context.Background(), r, image.Mem{Data: bench.disk}, bench.parent, s, nil); err != nil {
						b.Fatal(err)
					}
				}
				if same := s.Root == before.Root; same != (bench.store == full && &bench.disk[0] == &disk[0]) {
					b.Fatalf("root like the first one's: %v", same)
				}
				b.ReportMetric(float64(s.Stats.New)/(1<<20), "new-MiB")
				b.ReportMetric(float64(s.Stats.Stored)/(1<<20), "stored-MiB")
			})
		}
	}
}
