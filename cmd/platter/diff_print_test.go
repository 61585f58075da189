package main

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"platter/snapshot/diskmap"
	"platter/snapshot/image/anatomy"
)

// TestSumUp checks that every byte and range is counted in the row that it is in, against a count byte by byte.
func TestSumUp(t *testing.T) {
	const total = 400
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var rows []diffRow
		for at := rnd.Int64N(20); at < total-40; at += rnd.Int64N(60) + 1 { // they may overlap
			rows = append(rows, diffRow{off: at, len: rnd.Int64N(50) + 1})
		}
		var ranges []diskmap.Range
		for at := rnd.Int64N(5); at < total; {
			n := min(rnd.Int64N(30)+1, total-at)
			ranges = append(ranges, diskmap.Range{Off: at, Len: n})
			at += n + rnd.Int64N(10) + 1
		}
		want := make([]diffRow, len(rows)+1) // the last is outside
		for _, q := range ranges {
			last := -1
			for at := q.Off; at < q.Off+q.Len; at++ {
				in := len(rows)
				for i, row := range rows {
					if row.off <= at && at < row.off+row.len {
						in = i
						break
					}
				}
				want[in].differs++
				if in != last {
					want[in].ranges++
				}
				last = in
			}
		}
		outside := sumUp(rows, ranges)
		for i, got := range append(rows, outside) {
			if got.differs != want[i].differs || got.ranges != want[i].ranges {
				t.Fatalf("seed %d, row %d: %d bytes in %d ranges, want %d in %d", seed, i, got.differs, got.ranges, want[i].differs, want[i].ranges)
			}
		}
	}
}

// TestSliceRows checks that a disk of any size is cut into few runs that cover it.
func TestSliceRows(t *testing.T) {
	for _, total := range []int64{0, 1, diskmap.RegionSize, 16 * diskmap.RegionSize, 17*diskmap.RegionSize + 1, 8 << 40, 1 << 62} {
		rows, at := sliceRows("disk", total), int64(0)
		for _, row := range rows {
			if row.off != at || row.len <= 0 {
				t.Fatalf("%d bytes: a row at %d of %d bytes, want it at %d", total, row.off, row.len, at)
			}
			at += row.len
		}
		if at != total || len(rows) > maxDiffSlices {
			t.Errorf("%d bytes: %d rows cover %d", total, len(rows), at)
		}
	}
}

// TestDiffSummary checks that a summary names partitions, and what differs outside of them.
func TestDiffSummary(t *testing.T) {
	var out bytes.Buffer
	d := &anatomy.Disk{Partitions: []anatomy.Partition{
		{Number: 2, Off: 8 << 20, Len: 8 << 20, Name: "home"},
		{Number: 1, Off: 1 << 20, Len: 1 << 20, Content: &anatomy.Content{Type: "ext4", Label: "root"}},
		{Number: 3, Off: 32 << 20, Len: 1 << 20, Name: "untouched"},
	}}
	ranges := rangesJSON{Ranges: []diskmap.Range{{Off: 0, Len: 512}, {Off: 1 << 20, Len: 4096}, {Off: 12 << 20, Len: 8 << 20}}, MoreRanges: 2, MoreBytes: 1024}
	printDiffSummary(docEnv(&out), d, "disk", 64<<20, ranges)
	want := "Part        From     Size  Content  Label  Differs  Ranges\n" +
		"p1       1.0 MiB  1.0 MiB  ext4     root   4.0 KiB       1\n" +
		"p2       8.0 MiB  8.0 MiB           home   4.0 MiB       1\n" +
		"outside                                    4.0 MiB       2\n" +
		"and 2 more ranges, of 1.0 KiB\n"
	if got := tidy(out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
