package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sort"
	"strconv"
	"strings"
)

// A RescueMap is GNU ddrescue's record of a disk, its mapfile: which bytes were read. A nil map excludes nothing.
type RescueMap struct {
	size int64    // bytes: where the last block ends
	lost []Extent // ranges not read, in order, never adjacent; the last has no end
}

// rescueGrain is the unit in bytes to which unreadable ranges are rounded out. No disk has smaller sectors, and a map
// of single bytes would create pages full of tiny pieces.
const rescueGrain = 512

// Limits of a map. A disk with a million unreadable places is beyond rescue.
const (
	maxRescueLost = 1 << 20 // ranges
	maxRescueLine = 1 << 20 // one line holds ddrescue's command line
)

// ReadRescueMap reads a mapfile of GNU ddrescue. Ranges that it does not mention count as not read.
func ReadRescueMap(r io.Reader) (*RescueMap, error) {
	m := new(RescueMap)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRescueLine)
	status := false // the status line was seen
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		var err error
		if status {
			err = m.add(words)
		} else {
			status, err = true, checkStatus(words)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if m.size == 0 {
		return nil, errors.New("it has no blocks: want a mapfile of GNU ddrescue")
	}
	if last := len(m.lost) - 1; last >= 0 && m.lost[last].Off+m.lost[last].Len >= m.size {
		m.lost[last].Len = math.MaxInt64 - m.lost[last].Off
	} else {
		m.lost = append(m.lost, Extent{Off: m.size, Len: math.MaxInt64 - m.size})
	}
	return m, nil
}

// checkStatus checks the first line: the position, the status, and in newer maps ddrescue's current pass.
func checkStatus(words []string) error {
	if len(words) == 2 || len(words) == 3 {
		if _, err := number(words[0]); err == nil && len(words[1]) == 1 && strings.Contains("?*/-FG+", words[1]) {
			return nil
		}
	}
	return fmt.Errorf("%.60q is not a status line: want a mapfile of GNU ddrescue", strings.Join(words, " "))
}

// add adds a block: its position, its size, its status.
func (m *RescueMap) add(words []string) error {
	if len(words) != 3 || len(words[2]) != 1 || !strings.Contains("?*/-+", words[2]) {
		return fmt.Errorf("%.60q is not a block: want a position, a size and one of ? * / - +", strings.Join(words, " "))
	}
	off, err := number(words[0])
	if err != nil {
		return err
	}
	n, err := number(words[1])
	if err != nil {
		return err
	}
	switch {
	case n == 0 || off > math.MaxInt64-n:
		return fmt.Errorf("a block cannot have %d bytes at position %d", n, off)
	case off < m.size:
		return fmt.Errorf("the block at %d begins before the one above it ends", off)
	case off > m.size:
		m.lose(m.size, off) // a gap in the map
	}
	if words[2] != "+" {
		m.lose(off, off+n)
	}
	m.size = off + n
	if len(m.lost) > maxRescueLost {
		return fmt.Errorf("more than %d ranges that were not read", maxRescueLost)
	}
	return nil
}

// lose adds a range, rounded out to sectors. The last range may end within the sector in which the disk ends.
func (m *RescueMap) lose(from, to int64) {
	from -= from % rescueGrain
	if over := to % rescueGrain; over > 0 && to < math.MaxInt64-rescueGrain {
		to += rescueGrain - over
	}
	if last := len(m.lost) - 1; last >= 0 && m.lost[last].Off+m.lost[last].Len >= from {
		m.lost[last].Len = max(m.lost[last].Len, to-m.lost[last].Off)
		return
	}
	m.lost = append(m.lost, Extent{Off: from, Len: to - from})
}

// number parses a number in C syntax.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 0, 63)
	if err != nil || strings.Contains(s, "_") {
		return 0, fmt.Errorf("%.30q is not a number of bytes", s)
	}
	return int64(n), nil
}

// Size returns where the map ends, in bytes; 0 for nil.
func (m *RescueMap) Size() int64 {
	if m == nil {
		return 0
	}
	return m.size
}

// Within yields the ranges within n bytes at off that were not read, in order.
func (m *RescueMap) Within(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		if m == nil {
			return
		}
		first := sort.Search(len(m.lost), func(i int) bool { return m.lost[i].Off+m.lost[i].Len > off })
		for _, e := range m.lost[first:] {
			from, to := max(e.Off, off), min(e.Off+e.Len, off+n)
			if from >= to || !yield(Extent{Off: from, Len: to - from}) {
				return
			}
		}
	}
}

// fits returns an error if the map cannot be of a disk of size bytes. An image ends after the last byte that was
// copied, so a shorter image may be right.
func (m *RescueMap) fits(size int64) error {
	at := size
	for e := range m.Within(size, m.Size()-size) {
		if e.Off == at {
			at += e.Len
		}
	}
	if at < m.Size() {
		return fmt.Errorf("the rescue map lists data after byte %d, where the disk ends: it is the map of another disk", size)
	}
	return nil
}

// WriteRescueMap writes a mapfile for GNU ddrescue. The disk has size bytes, and all were read except the ranges in
// lost, which must be in order.
func WriteRescueMap(w io.Writer, by string, size int64, lost iter.Seq2[Extent, error]) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s%s\n# current_pos  current_status  current_pass\n0x00000000     +               1\n#      pos        size  status\n",
		RescueMapHead, by)
	at := int64(0)
	block := func(end int64, status byte) {
		if end > at {
			fmt.Fprintf(out, "0x%08X  0x%08X  %c\n", at, end-at, status)
			at = end
		}
	}
	for e, err := range lost {
		if err != nil {
			return err
		}
		block(e.Off, '+')
		block(e.Off+e.Len, '-')
	}
	block(size, '+')
	return out.Flush()
}

// RescueMapHead is the start of every file that WriteRescueMap wrote.
const RescueMapHead = "# Mapfile. Created by platter "
