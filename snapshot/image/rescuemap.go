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

// A RescueMap is what GNU ddrescue notes of a disk in its mapfile: which bytes of it were read. The nil map is of a disk
// of which nothing is known, and all may be read.
type RescueMap struct {
	size int64    // bytes: where the last block ends
	lost []Extent // what was not read, in order, none next to another; the last has no end
}

// rescueGrain is what unreadable ranges are rounded up to, in bytes. No disk has shorter sectors, and a map made of single
// bytes would be turned into pages of the like.
const rescueGrain = 512

// What a map may ask for. A disk that has lost a million places is beyond rescue.
const (
	maxRescueLost = 1 << 20 // ranges
	maxRescueLine = 1 << 20 // bytes; one of them has the command line in it
)

// ReadRescueMap reads a mapfile of GNU ddrescue. What it says nothing of was not read either.
func ReadRescueMap(r io.Reader) (*RescueMap, error) {
	m := new(RescueMap)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRescueLine)
	status := false // line was seen
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
		return nil, errors.New("it holds no blocks: want a mapfile as GNU ddrescue writes it")
	}
	if last := len(m.lost) - 1; last >= 0 && m.lost[last].Off+m.lost[last].Len >= m.size {
		m.lost[last].Len = math.MaxInt64 - m.lost[last].Off
	} else {
		m.lost = append(m.lost, Extent{Off: m.size, Len: math.MaxInt64 - m.size})
	}
	return m, nil
}

// checkStatus looks at the first line: the position, the status, and in newer maps the pass that ddrescue is at.
func checkStatus(words []string) error {
	if len(words) == 2 || len(words) == 3 {
		if _, err := number(words[0]); err == nil && len(words[1]) == 1 && strings.Contains("?*/-FG+", words[1]) {
			return nil
		}
	}
	return fmt.Errorf("%.60q is no status line: want a mapfile as GNU ddrescue writes it", strings.Join(words, " "))
}

// add takes in a block: its position, its size, its status.
func (m *RescueMap) add(words []string) error {
	if len(words) != 3 || len(words[2]) != 1 || !strings.Contains("?*/-+", words[2]) {
		return fmt.Errorf("%.60q is no block: want a position, a size and one of ? * / - +", strings.Join(words, " "))
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
		return fmt.Errorf("a block of %d bytes at %d", n, off)
	case off < m.size:
		return fmt.Errorf("the block at %d begins before the one above it ends", off)
	case off > m.size:
		m.lose(m.size, off) // nothing is said of it
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

// lose notes a range. The last one may end within the sector that a disk ends in.
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

// number reads a number as C writes it.
func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 0, 63)
	if err != nil || strings.Contains(s, "_") {
		return 0, fmt.Errorf("%.30q is no number of bytes", s)
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

// Within yields what of n bytes from off on was not read, in order.
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

// fits returns an error unless the map may be one of a disk of size bytes. An image ends behind the last byte that could be
// copied, so a shorter one may be right.
func (m *RescueMap) fits(size int64) error {
	at := size
	for e := range m.Within(size, m.Size()-size) {
		if e.Off == at {
			at += e.Len
		}
	}
	if at < m.Size() {
		return fmt.Errorf("the rescue map says that bytes were read behind byte %d, where the disk ends: it is the map of another disk", size)
	}
	return nil
}

// WriteRescueMap writes a mapfile that GNU ddrescue can read, of a disk of size bytes of which all was read but some
// ranges, which come in order.
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

// RescueMapHead is how a file begins that WriteRescueMap wrote.
const RescueMapHead = "# Mapfile. Created by platter "
