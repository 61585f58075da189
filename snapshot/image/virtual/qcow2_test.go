package virtual

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestQcow2Reads holds what is read of images that qemu-img made against the raw disk they were made from.
func TestQcow2Reads(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	tests := []struct{ options, more string }{
		{"cluster_size=512", ""}, {"cluster_size=4096", ""}, {"cluster_size=65536", ""}, {"cluster_size=2097152", ""},
		{"compat=0.10", ""}, {"compat=0.10,cluster_size=512", "-c"}, {"compat=0.10", "-c"},
		{"cluster_size=512", "-c"}, {"cluster_size=4096", "-c"}, {"cluster_size=65536", "-c"}, {"cluster_size=2097152", "-c"},
		{"compression_type=zstd,cluster_size=512", "-c"}, {"compression_type=zstd,cluster_size=4096", "-c"},
		{"compression_type=zstd", "-c"}, {"compression_type=zstd,cluster_size=2097152", "-c"},
		{"extended_l2=on", ""}, {"extended_l2=on,cluster_size=16384", ""}, {"extended_l2=on,cluster_size=2097152", ""},
		{"extended_l2=on", "-c"}, {"extended_l2=on,compression_type=zstd", "-c"},
		{"preallocation=metadata", ""}, {"preallocation=falloc", ""}, {"preallocation=full", ""},
		{"preallocation=metadata,extended_l2=on", ""},
		{"lazy_refcounts=on", ""}, {"refcount_bits=1", ""}, {"refcount_bits=64", ""}, {"cluster_size=65536", "-S0"},
	}
	for _, tt := range tests {
		for _, size := range []int{512, 1000, 65536, 3<<20 + 513, 9<<20 + 1536} {
			t.Run(fmt.Sprintf("%s%s/%d", tt.options, tt.more, size), func(t *testing.T) {
				dir, d := t.TempDir(), randomDisk(rng, size)
				args := []string{"convert", "-f", "raw", "-O", "qcow2", "-o", tt.options}
				if tt.more != "" {
					args = append(args, tt.more)
				}
				qemuImg(t, dir, append(args, writeRaw(t, dir, d), "disk.qcow2")...)
				compare(t, mustOpen(t, filepath.Join(dir, "disk.qcow2"), "qcow2", Options{}), sectors(d.Data))
			})
		}
	}
}

// sectors fills a disk up to a multiple of 512 bytes, as QEMU does.
func sectors(p []byte) []byte { return append(p[:len(p):len(p)], make([]byte, -len(p)&511)...) }

// TestQcow2Writes holds what is written against qemu-img, and what is read of it against the disk.
func TestQcow2Writes(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, compress := range []bool{false, true} {
		for _, size := range []int{0, 1, 512, 1000, 65535, 65536, 3<<20 + 513, 20<<20 + 1536} {
			t.Run(fmt.Sprintf("%v/%d", compress, size), func(t *testing.T) {
				dir, d := t.TempDir(), randomDisk(rng, size)
				path := writeAs(t, dir, "qcow2", d, CreateOptions{Compress: compress})
				qemuImg(t, dir, "check", path)
				if size > 0 {
					qemuImg(t, dir, "compare", "-f", "raw", "-F", "qcow2", writeRaw(t, dir, d), path)
				}
				compare(t, mustOpen(t, path, "qcow2", Options{}), sectors(d.Data))
				if info, err := os.Stat(path); err != nil || info.Size()%qcowWriteCluster != 0 {
					t.Errorf("%v, %v: want a multiple of a cluster", info.Size(), err)
				}
			})
		}
	}
}
