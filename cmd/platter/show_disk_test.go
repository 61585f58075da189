package main

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"platter/snapshot/image/anatomy"
)

// TestBar draws disks of all kinds: three lines of one length, no longer than there is room, in which every partition has its
// number.
func TestBar(t *testing.T) {
	e, _, _ := testEnv(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		total := 1 + rng.Int64N(1<<uint(1+rng.IntN(50)))
		d := new(anatomy.Disk)
		for i := range rng.IntN(18) {
			p := anatomy.Partition{Number: i + 1, Off: rng.Int64N(total), Len: 1 + rng.Int64N(total)}
			if rng.IntN(2) == 0 {
				p.Content = &anatomy.Content{Type: "a\x1bfile system with a rather long name"}
			}
			d.Partitions = append(d.Partitions, p)
		}
		bar := e.bar(d, total)
		lines := strings.Split(bar, "\n")
		if len(d.Partitions) == 0 || len(cellsOf(d, total)) > 20 {
			if bar != "" {
				t.Errorf("a bar of %d partitions:\n%s", len(d.Partitions), bar)
			}
			continue
		}
		if len(lines) != 4 || lines[3] != "" {
			t.Fatalf("no bar:\n%s", bar)
		}
		for _, line := range lines[:3] {
			if n := utf8.RuneCountInString(line); n != utf8.RuneCountInString(lines[0]) || n > 80 || strings.Contains(line, "\x1b") {
				t.Fatalf("%d columns:\n%s", n, bar)
			}
		}
		cells := strings.Split(lines[1], "|")
		for _, p := range d.Partitions {
			if !containsCell(cells, strconv.Itoa(p.Number)) {
				t.Errorf("no partition %d in\n%s", p.Number, bar)
			}
		}
	}
}

func containsCell(cells []string, number string) bool {
	for _, c := range cells {
		if c == number || strings.HasPrefix(c, number+" ") {
			return true
		}
	}
	return false
}

// TestBarOfNonsense draws what no backup notes, but what a snapshot may say.
func TestBarOfNonsense(t *testing.T) {
	e, _, _ := testEnv(t)
	for _, p := range []anatomy.Partition{{Off: -1, Len: 5}, {Off: math.MaxInt64, Len: math.MaxInt64}, {Off: 5, Len: math.MaxInt64}, {Off: 5, Len: -5}, {Off: 1000, Len: 1}} {
		for _, total := range []int64{0, 1, 1000, math.MaxInt64} {
			bar := e.bar(&anatomy.Disk{Partitions: []anatomy.Partition{p}}, total)
			for line := range strings.SplitSeq(bar, "\n") {
				if len(line) > 81 {
					t.Errorf("%+v on %d bytes:\n%s", p, total, bar)
				}
			}
		}
	}
}
