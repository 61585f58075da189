package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkNights keeps a disk for 60 nights, or with PLATTER_BENCH=full for 1000, with a little that is new each time, and
// compares the last with the first: ratio is what the last ones took, the middle one of ten, by what the first ones did. Run
// it with -benchtime 1x.
func BenchmarkNights(b *testing.B) {
	dir := b.TempDir()
	nights := 60
	if os.Getenv("PLATTER_BENCH") == "full" {
		nights = 1000
	}
	program := filepath.Join(dir, "platter")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	disk := filepath.Join(dir, "disk")
	if err := makeDisk(disk, 64<<20, 1, "mixed"); err != nil {
		b.Fatal(err)
	}
	run := func(args ...string) time.Duration {
		cmd := exec.Command(program, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Env = append(os.Environ(), "PLATTER_PASSWORD=secret", "PLATTER_REPOSITORY="+filepath.Join(dir, "repo"), "PLATTER_CACHE_DIR="+filepath.Join(dir, "cache"))
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		return time.Since(start)
	}
	run("init")
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var took []time.Duration
	for b.Loop() {
		for n := range nights {
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte(n), byte(n >> 8), 1}, 20_000), int64(n)*100_000%(60<<20)); err != nil {
				b.Fatal(err)
			}
			took = append(took, run("backup", disk, "--name", "disk", "-q"))
		}
	}
	first, last := middle(took[1:11]), middle(took[len(took)-10:])
	b.ReportMetric(float64(last)/float64(first), "ratio")
	b.ReportMetric(first.Seconds()*1000, "first-ms")
	b.ReportMetric(last.Seconds()*1000, "last-ms")
}

// middle is the one that half of the others are shorter than.
func middle(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
