//go:build unix

package nbd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/snapshot/image"
	client "platter/snapshot/image/nbd"
	"platter/snapshot/image/oracle"
)

// BenchmarkRead reads from memory over a Unix socket, at random, with our client: one connection, at depth 1 and 16.
func BenchmarkRead(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	path := serve(b, shelf{"": {Disk: image.Mem{Data: data}}}, Options{})
	for _, size := range []int{4 << 10, 256 << 10} {
		for _, depth := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/depth%d", size>>10, depth), func(b *testing.B) {
				d, err := client.Open(b.Context(), uri(path, ""), client.Options{Connections: 1})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				b.SetBytes(int64(size))
				var g errgroup.Group
				b.ResetTimer()
				for i := range depth {
					g.Go(func() error {
						rng := rand.New(rand.NewPCG(2, uint64(i)))
						p := make([]byte, size)
						for range (b.N + depth - 1) / depth {
							off := rng.Int64N(int64(len(data)-size)/4096) * 4096
							if _, err := d.ReadAtContext(context.Background(), p, off); err != nil {
								return err
							}
						}
						return nil
					})
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkFio has fio read at random for a second, from this server and from nbdkit's file plugin, and reports their
// ratio as "of-nbdkit".
func BenchmarkFio(b *testing.B) {
	data := make([]byte, 64<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	file := filepath.Join(b.TempDir(), "disk.img")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	ours := uri(serve(b, shelf{"": {Disk: image.Mem{Data: data}}}, Options{}), "")
	for _, depth := range []int{1, 16} {
		b.Run(fmt.Sprintf("depth%d", depth), func(b *testing.B) {
			own, peer, rounds := 0.0, 0.0, 0.0
			for b.Loop() {
				args := []string{
					"--name=x", "--ioengine=nbd", "--rw=randread", "--bs=4k", "--runtime=1", "--time_based",
					"--minimal", fmt.Sprintf("--iodepth=%d", depth),
				}
				// Terse output has the operations per second of reads in field 8.
				field := func(out string) float64 {
					for line := range strings.Lines(out) {
						if f := strings.Split(line, ";"); len(f) > 8 {
							n, err := strconv.ParseFloat(f[7], 64)
							if err != nil {
								b.Fatal(err)
							}
							return n
						}
					}
					b.Fatalf("fio: %s", out)
					return 0
				}
				own += field(oracle.Run(b, "fio", append(args, "--uri="+ours)...))
				fio := "fio " + strings.Join(args, " ") + ` --uri="$uri"`
				peer += field(oracle.Run(b, "nbdkit", "-U", "-", "file", file, "--run", fio))
				rounds++
			}
			b.ReportMetric(own/rounds, "ours/s")
			b.ReportMetric(peer/rounds, "nbdkit/s")
			b.ReportMetric(own/peer, "of-nbdkit")
		})
	}
}
