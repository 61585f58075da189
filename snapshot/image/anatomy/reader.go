package anatomy

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"

	"platter/snapshot/image"
)

// Limits of reading.
const (
	headLen   = 72 << 10 // bytes of a section that are read at once; most superblocks are in them
	maxRead   = 32 << 20 // bytes of a disk in total
	maxFaults = 8        // errors after which nothing more is read: on a failing disk, each may take a minute
	block     = image.Alignment
)

// A reader reads small parts of a disk and collects notes.
type reader struct {
	disk   image.Disk
	size   int64
	sector int64 // bytes; 0 if unknown
	left   int64 // bytes that may still be read
	faults int
	notes  []string
}

func newReader(disk image.Disk, sector int64) *reader {
	if sector < 512 || sector > 1<<16 || sector&(sector-1) != 0 {
		sector = 0
	}
	return &reader{disk: disk, size: disk.Size(), sector: sector, left: maxRead}
}

// note adds a note, unless it is already there.
func (r *reader) note(format string, args ...any) {
	if len(r.notes) == maxNotes {
		r.notes[maxNotes-1] = "more notes were dropped"
		return
	}
	text := fmt.Sprintf(format, args...)
	if len(text) > maxText {
		text = text[:maxText]
	}
	text = strings.ToValidUTF8(text, "?")
	for _, n := range r.notes {
		if n == text {
			return
		}
	}
	r.notes = append(r.notes, text)
}

// read returns n bytes of the disk, or fewer if the rest is unreadable. It reads whole blocks, as devices prefer.
func (r *reader) read(off int64, n int) []byte {
	if off < 0 || n <= 0 || off > r.size-int64(n) || r.faults == maxFaults {
		return nil
	}
	from := off &^ (block - 1)
	buf := make([]byte, min((off+int64(n)+block-1)&^(block-1), r.size)-from)
	if r.left -= int64(len(buf)); r.left < 0 {
		r.note("the table names too much to examine; some of it was skipped")
		return nil
	}
	got, err := r.disk.ReadAt(buf, from)
	if got < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.note("bytes %d to %d are unreadable: %v", from+int64(got), from+int64(len(buf)), err)
		if r.faults++; r.faults == maxFaults {
			r.note("nothing more was examined after %d errors", maxFaults)
		}
	}
	buf = buf[:got]
	return buf[min(off-from, int64(got)):min(off-from+int64(n), int64(got))]
}

// A section is a part of a disk that may have content.
type section struct {
	r    *reader
	off  int64
	size int64
	head []byte
}

func (r *reader) section(off, size int64) *section {
	return &section{r, off, size, r.read(off, int(min(size, headLen)))}
}

// at returns n bytes at offset off of the section. It returns nil if the section is too short or unreadable there.
func (s *section) at(off int64, n int) []byte {
	if off < 0 || n < 0 || off > s.size-int64(n) {
		return nil
	}
	if off+int64(n) <= int64(len(s.head)) {
		return s.head[off:][:n:n]
	}
	p := s.r.read(s.off+off, n)
	if len(p) < n {
		return nil
	}
	return p
}

// product multiplies. If the product overflows, it returns −1, which is not a valid offset or length.
func product(a, b uint64) int64 {
	if hi, lo := bits.Mul64(a, b); hi == 0 && int64(lo) >= 0 {
		return int64(lo)
	}
	return -1
}
