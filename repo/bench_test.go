package repo

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"platter/chunk"
	"platter/repo/layout"
	"platter/repo/store"
)

// A discarding store keeps the files that make a repository, and drops what is put later. So each turn begins with an
// empty repository, and nothing grows from turn to turn.
type discarding struct{ store.Mem }

func (d *discarding) Put(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, layout.Packs) || strings.HasPrefix(name, layout.Index) {
		return ctx.Err()
	}
	return d.Mem.Put(ctx, name, data)
}

// benchChunks returns chunks of the mean length, 64 MiB in all. They are noise, or runs of 256 phrases that compress to
// about a third.
func benchChunks(compressible bool) [][]byte {
	const size, count = 96 << 10, (64 << 20) / (96 << 10)
	chunks := noiseChunks(1, count, size)
	if !compressible {
		return chunks
	}
	rnd, phrases := rand.New(rand.NewPCG(1, 2)), noiseChunks(2, 256, 12)
	for _, c := range chunks {
		for at := 0; at+16 <= len(c); at += 16 {
			copy(c[at:], phrases[rnd.IntN(len(phrases))])
			binary.LittleEndian.PutUint32(c[at+12:], uint32(rnd.IntN(1<<12)))
		}
	}
	return chunks
}

// benchRepo returns an empty repository that works on so many cores, the IDs of the chunks, and their total bytes.
func benchRepo(b *testing.B, workers int, chunks [][]byte) (r *Repo, ids []chunk.ID, size int64) {
	r, err := Init(context.Background(), new(discarding), []byte("pw"), cheap, "", DefaultSettings)
	if err != nil {
		b.Fatal(err)
	}
	r.SetWorkers(workers)
	namer := r.Namer(chunk.Data)
	defer r.Return(chunk.Data, namer)
	for _, c := range chunks {
		ids = append(ids, namer.ID(c))
		size += int64(len(c))
	}
	return r, ids, size
}

func benchSave(b *testing.B, r *Repo, ids []chunk.ID, chunks [][]byte) *Stats {
	stats, err := r.Write(context.Background(), func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		for i, c := range chunks {
			if err := lane.Save(ctx, ids[i], c); err != nil {
				return err
			}
		}
		return lane.Close(ctx)
	})
	if err != nil {
		b.Fatal(err)
	}
	return stats
}

// BenchmarkSaveNew measures all that happens to new chunks after their IDs are known: frames, packs, the store's calls.
// One lane fills frames for as many encoders as there are cores.
func BenchmarkSaveNew(b *testing.B) {
	for _, content := range []string{"noise", "phrases"} {
		chunks := benchChunks(content == "phrases")
		for cores := 1; cores <= 2; cores++ {
			b.Run(fmt.Sprintf("%s/cores=%d", content, cores), func(b *testing.B) {
				// The single encoder works on one core, while the lane and the store work on another.
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				r, ids, size := benchRepo(b, cores, chunks)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					if err := r.LoadIndex(context.Background()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					if stats := benchSave(b, r, ids, chunks); stats.Raw.Load() != size {
						b.Fatalf("%d bytes were new of %d", stats.Raw.Load(), size)
					}
				}
			})
		}
	}
}

// BenchmarkSaveKnown saves chunks that are already stored: the cost of an unchanged disk after the IDs are known.
func BenchmarkSaveKnown(b *testing.B) {
	chunks := benchChunks(false)
	r, ids, size := benchRepo(b, 2, chunks)
	benchSave(b, r, ids, chunks)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if stats := benchSave(b, r, ids, chunks); stats.Raw.Load() != 0 {
			b.Fatalf("%d bytes were new", stats.Raw.Load())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(chunks)), "ns/chunk")
}
