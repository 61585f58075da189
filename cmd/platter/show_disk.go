package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"platter/snapshot"
	"platter/snapshot/image/anatomy"
)

// printAnatomy prints the anatomy of a disk of total bytes: a bar, a table, and notes on oddities.
func (e *env) printAnatomy(d *anatomy.Disk, total int64) {
	if bar := e.bar(d, total); bar != "" {
		fmt.Fprintf(e.stdout, "\n%s", bar)
	}
	if len(d.Partitions) > 0 || d.Content != nil {
		fmt.Fprintln(e.stdout)
		e.partitionTable(d, total).print(e)
	}
	if len(d.Notes) > 0 {
		fmt.Fprintln(e.stdout)
	}
	for _, note := range d.Notes {
		fmt.Fprintln(e.stdout, printable("note: "+note))
	}
}

// tableText describes the partition table of a disk.
func tableText(d *anatomy.Disk) string {
	if d.Table == "" {
		return ""
	}
	s := strings.ToUpper(d.Table)
	if d.ID != "" {
		s += " " + d.ID
	}
	if d.SectorSize != 0 {
		s += fmt.Sprintf(", sectors of %d bytes", d.SectorSize)
	}
	return s
}

func (e *env) partitionTable(d *anatomy.Disk, total int64) textTable {
	table := newTable("Part", ">Start", ">Size", "Type", "Content", "Label", "UUID")
	row := func(name string, off, n int64, kind string, c *anatomy.Content, label string) {
		if c == nil {
			c = new(anatomy.Content)
		}
		if c.Label != "" {
			label = c.Label
		}
		table.row(name, size(off), size(n), kind, contentText(c), label, c.UUID)
	}
	if d.Content != nil {
		row("disk", 0, total, "", d.Content, "")
	}
	for _, p := range d.Partitions {
		row(snapshot.PartName(p.Number), p.Off, p.Len, typeText(p), p.Content, p.Name)
	}
	return table
}

// typeText is the type of a partition by its table, and whether it is bootable.
func typeText(p anatomy.Partition) string {
	kind := p.TypeName
	if kind == "" {
		kind = p.Type
	}
	if slices.Contains(p.Flags, "boot") {
		kind += ", boot"
	}
	return kind
}

// contentText names content and its version; only the version if that includes the name.
func contentText(c *anatomy.Content) string {
	if strings.HasPrefix(strings.ToLower(c.Version), strings.TrimPrefix(c.Type, "v")) {
		return c.Version // FAT32 is vfat
	}
	return strings.TrimSpace(c.Type + " " + c.Version)
}

// partJSON is a partition as 'show SNAPSHOT:p1 --json' prints it.
type partJSON struct {
	Snapshot string `json:"snapshot"`
	Disk     string `json:"disk"`
	anatomy.Partition
}

// printPart prints one partition.
func (e *env) printPart(s *snapshot.Snapshot, p anatomy.Partition) {
	line := e.line
	line("part", snapshot.PartName(p.Number)+" of "+s.Name)
	line("snapshot", s.ID.String())
	line("time", localTime(s.Time))
	line("start", fmt.Sprintf("%s (byte %d)", size(p.Off), p.Off))
	line("size", fmt.Sprintf("%s (%d bytes)", size(p.Len), p.Len))
	kind := p.Type
	if p.TypeName != "" {
		kind = fmt.Sprintf("%s (%s)", p.TypeName, p.Type)
	}
	line("type", kind)
	line("flags", strings.Join(p.Flags, ", "))
	line("name", p.Name)
	line("partuuid", p.UUID)
	if c := p.Content; c != nil {
		line("content", contentText(c))
		line("label", c.Label)
		line("uuid", c.UUID)
		if c.Size > 0 {
			line("fs size", fmt.Sprintf("%s (%d bytes)", size(c.Size), c.Size))
		}
	}
}

// barStyle is what a bar is drawn with.
type barStyle struct {
	upper, lower    [3]string // at the left, between, at the right
	across, between string
	free            string
}

var (
	asciiBar   = barStyle{[3]string{"+", "+", "+"}, [3]string{"+", "+", "+"}, "-", "|", "."}
	unicodeBar = barStyle{[3]string{"┌", "┬", "┐"}, [3]string{"└", "┴", "┘"}, "─", "│", "░"}
)

// A cell is a run of a bar.
type cell struct {
	text string
	len  int64 // bytes
	free bool
}

// bar draws the disk from its beginning to its end, each partition as wide as its share, but wide enough for its number. It is
// empty if there are no partitions, or too many to tell apart.
func (e *env) bar(d *anatomy.Disk, total int64) string {
	style := asciiBar
	if e.unicode() {
		style = unicodeBar
	}
	cells, width := cellsOf(d, total), e.width()
	if len(d.Partitions) == 0 || len(cells) == 0 || len(cells) > width/4 {
		return ""
	}
	widths := cellWidths(cells, total, width-len(cells)-1)
	var upper, middle, lower strings.Builder
	for i, c := range cells {
		side := min(i, 1)
		upper.WriteString(style.upper[side] + strings.Repeat(style.across, widths[i]))
		lower.WriteString(style.lower[side] + strings.Repeat(style.across, widths[i]))
		fill := strings.Repeat(style.free, widths[i])
		if !c.free {
			fill = text.Pad(text.Trim(c.text, widths[i]), widths[i], ' ')
		}
		middle.WriteString(style.between + fill)
	}
	return upper.String() + style.upper[2] + "\n" + middle.String() + style.between + "\n" + lower.String() + style.lower[2] + "\n"
}

// cellsOf are the partitions in the order of the disk, and the gaps between them that are large enough to show. If partitions
// overlap, the later one is cut.
func cellsOf(d *anatomy.Disk, total int64) (cells []cell) {
	parts := slices.DeleteFunc(slices.Clone(d.Partitions), func(p anatomy.Partition) bool {
		return p.IsExtended() || p.Off < 0 || p.Off >= total // the latter only in a hostile snapshot
	})
	slices.SortStableFunc(parts, func(a, b anatomy.Partition) int {
		if a.Off < b.Off {
			return -1
		}
		return 1
	})
	at, shown := int64(0), max(total/64, 2<<20)
	free := func(to int64) {
		if to-at >= shown {
			cells = append(cells, cell{len: to - at, free: true})
		}
		at = max(at, to)
	}
	for _, p := range parts {
		free(p.Off)
		end := p.Off + min(p.Len, total-p.Off)
		name := strconv.Itoa(p.Number)
		if p.Content != nil {
			name += " " + printable(p.Content.Type)
		}
		cells = append(cells, cell{text: name, len: max(end-at, 0)})
		at = max(at, end)
	}
	free(total)
	return cells
}

// cellWidths distributes room columns by length. Each cell gets at least one column for each digit of its number.
func cellWidths(cells []cell, total int64, room int) []int {
	widths, sum := make([]int, len(cells)), 0
	for i, c := range cells {
		number, _, _ := strings.Cut(c.text, " ")
		widths[i] = max(len(number), 1, int(float64(c.len)/float64(total)*float64(room)+0.5))
		sum += widths[i]
	}
	for sum > room { // the widest cell can shrink best
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= 3 {
			break
		}
		widths[widest]--
		sum--
	}
	return widths
}

// width is the number of columns to draw in.
func (e *env) width() int {
	const usual, most = 80, 120
	if f, ok := e.stdout.w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return min(n, most)
		}
	}
	return usual
}

// unicode reports whether the locale variables promise more than ASCII.
func (e *env) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := e.getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
