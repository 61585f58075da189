package main

import (
	"cmp"
	"fmt"
	"slices"

	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image/anatomy"
)

const (
	maxDiffLines  = 12 // ranges that text lists without --ranges
	maxDiffSlices = 16 // rows of a summary of a disk without partitions
)

// printRanges lists ranges one by one.
func printRanges(env *env, ranges rangesJSON) {
	if len(ranges.Ranges) > 0 {
		table := newTable(">From", ">To", ">Size")
		for _, d := range ranges.Ranges {
			table.row(fmt.Sprint(d.Off), fmt.Sprint(d.Off+d.Len), size(d.Len))
		}
		table.print(env)
	}
	if more := ranges.more(); more != "" {
		fmt.Fprintln(env.stdout, more)
	}
}

// A diffRow is a run of a disk in a summary, and what differs in it.
type diffRow struct {
	name, content, label string
	off, len             int64 // bytes
	differs, ranges      int64 // bytes and ranges that differ in it
}

// printDiffSummary prints what differs in each partition of d and outside of them. For a disk without partitions it prints what
// differs in each of up to maxDiffSlices equal runs of total bytes, which are called name.
func printDiffSummary(env *env, d *anatomy.Disk, name string, total int64, ranges rangesJSON) {
	rows := partitionRows(d)
	if len(rows) == 0 {
		rows = sliceRows(name, total)
	}
	outside := sumUp(rows, ranges.Ranges)
	outside.name = "outside"
	table := newTable("Part", ">From", ">Size", "Content", "Label", ">Differs", ">Ranges")
	for _, row := range rows {
		if row.differs > 0 {
			table.row(row.name, size(row.off), size(row.len), row.content, row.label, size(row.differs), fmt.Sprint(row.ranges))
		}
	}
	if outside.differs > 0 {
		table.row(outside.name, "", "", "", "", size(outside.differs), fmt.Sprint(outside.ranges))
	}
	table.print(env)
	if more := ranges.more(); more != "" {
		fmt.Fprintln(env.stdout, more)
	}
}

// partitionRows are the partitions of a disk, by offset; none if d is nil.
func partitionRows(d *anatomy.Disk) (rows []diffRow) {
	if d == nil {
		return nil
	}
	for _, p := range d.Partitions {
		if p.IsExtended() || p.Len <= 0 || p.Off < 0 {
			continue
		}
		row := diffRow{name: snapshot.PartName(p.Number), label: p.Name, off: p.Off, len: p.Len}
		if c := p.Content; c != nil {
			row.content, row.label = contentText(c), cmp.Or(c.Label, p.Name)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b diffRow) int { return cmp.Compare(a.off, b.off) })
	return rows
}

// sliceRows cuts total bytes into equal runs, which are whole regions.
func sliceRows(name string, total int64) (rows []diffRow) {
	width := int64(diskmap.RegionSize)
	for total/width >= maxDiffSlices {
		width *= 2
	}
	for off := int64(0); off < total; off += width {
		rows = append(rows, diffRow{name: name, off: off, len: min(width, total-off)})
	}
	return rows
}

// sumUp adds ranges to the rows that they are in, and returns the sum of what is in none. Both are in order. Where rows overlap, the
// first one counts.
func sumUp(rows []diffRow, ranges []diskmap.Range) (outside diffRow) {
	add := func(to *diffRow, from, end int64) int64 {
		to.differs += end - from
		to.ranges++
		return end
	}
	first := 0
	for _, q := range ranges {
		at, end := q.Off, q.Off+q.Len
		for at < end {
			for first < len(rows) && rows[first].off+rows[first].len <= at {
				first++
			}
			switch {
			case first == len(rows):
				at = add(&outside, at, end)
			case at < rows[first].off:
				at = add(&outside, at, min(end, rows[first].off))
			default:
				at = add(&rows[first], at, min(end, rows[first].off+rows[first].len))
			}
		}
	}
	return outside
}
