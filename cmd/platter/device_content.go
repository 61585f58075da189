package main

import (
	"fmt"
	"strings"

	"platter/snapshot"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/restore"
)

// maxContentLines is how many partitions a question names.
const maxContentLines = 20

// contentLines describes the content of a device of total bytes, for the question whether to overwrite it: a line for the table,
// or for the content of the whole device, and one for each partition.
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
		add("whole disk", total, "", d.Content, "")
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

// sectorText warns if the disk of a version has different sectors from the device; "" if they are the same, or unknown.
func sectorText(s *snapshot.Snapshot, d *restore.Device) string {
	was, is := s.Source.SectorSize, d.Identity.SectorSize
	if was == 0 && s.Anatomy != nil {
		was = s.Anatomy.SectorSize
	}
	if was == 0 || is == 0 || was == is {
		return ""
	}
	return fmt.Sprintf("the disk of this version has sectors of %d bytes, and the device has sectors of %d: "+
		"what counts in sectors, such as the partition table, points to other places there", was, is)
}

// deviceQuestion is the prompt before a device is overwritten.
func deviceQuestion(what restoring, thing, word string) string {
	d := what.device
	var q strings.Builder
	fmt.Fprintf(&q, "%s (%s, %s) will be overwritten with %s of %s; what is there will be lost:\n",
		what.target, size(d.Size), describeDevice(d), what.title(), localTime(what.snapshot.Time))
	for _, line := range contentLines(d.Anatomy(), d.Size) {
		fmt.Fprintf(&q, "  %s\n", strings.ReplaceAll(line, "\n", " "))
	}
	if text := sectorText(what.snapshot, d); text != "" {
		fmt.Fprintf(&q, "Warning: %s.\n", text)
	}
	fmt.Fprintf(&q, "Type its %s, %s, to continue: ", thing, word)
	return printable(q.String())
}
