package main

import (
	"fmt"
	"strings"

	"platter/snapshot"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/restore"
)

// maxContentLines is how many partitions are named to somebody who is asked.
const maxContentLines = 20

// contentLines says what is on a device of a size in bytes, for somebody who is asked whether it may go: a line for the table, or
// for what lies on the device as a whole, and one for each partition.
func contentLines(d *anatomy.Disk, total int64) (lines []string) {
	add := func(name string, n int64, kind string, c *anatomy.Content, label string) {
		words := []string{name, size(n)}
		if kind != "" {
			words = append(words, kind)
		}
		if c != nil {
			words = append(words, contentText(c))
			if c.Label != "" {
				label = c.Label
			}
		}
		if label != "" {
			words = append(words, fmt.Sprintf("%q", label))
		}
		lines = append(lines, strings.Join(words, "  "))
	}
	if d.Table != "" {
		lines = append(lines, tableText(d))
	}
	if d.Content != nil {
		add("all of it", total, "", d.Content, "")
	}
	for i, p := range d.Partitions {
		if i == maxContentLines {
			lines = append(lines, fmt.Sprintf("and %s", count(len(d.Partitions)-i, "more partition")))
			break
		}
		add(snapshot.PartName(p.Number), p.Len, typeText(p), p.Content, p.Name)
	}
	if len(lines) == 0 {
		lines = []string{"no partition table and no file system that platter knows"}
	}
	return lines
}

// sectorText warns of a version of a disk with other sectors than the device's; "" where they are the same, or not known.
func sectorText(s *snapshot.Snapshot, d *restore.Device) string {
	was, is := s.Source.SectorSize, d.Identity.SectorSize
	if was == 0 && s.Anatomy != nil {
		was = s.Anatomy.SectorSize
	}
	if was == 0 || is == 0 || was == is {
		return ""
	}
	return fmt.Sprintf("the version is of a disk with sectors of %d bytes, and the device has sectors of %d: "+
		"what counts in sectors, a partition table above all, means other places there", was, is)
}

// deviceQuestion is what somebody has to answer before a device is written to.
func deviceQuestion(what restoring, thing, word string) string {
	d := what.device
	var q strings.Builder
	fmt.Fprintf(&q, "%s, %s of %s, will become %s of %s; what is there will be lost:\n",
		what.target, size(d.Size), describeDevice(d), what.title(), localTime(what.snapshot.Time))
	for _, line := range contentLines(d.Anatomy(), d.Size) {
		fmt.Fprintf(&q, "  %s\n", strings.ReplaceAll(line, "\n", " "))
	}
	if text := sectorText(what.snapshot, d); text != "" {
		fmt.Fprintf(&q, "Beware: %s.\n", text)
	}
	fmt.Fprintf(&q, "Type its %s, %s, to go on: ", thing, word)
	return printable(q.String())
}
