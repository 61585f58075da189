package parity

import (
	"bytes"
	"fmt"

	"platter/pack"
)

// A Report says what is lost, by the parity file's own table. Nothing proves that table.
type Report struct {
	Geometry
	LostData   []int // sectors of the pack that are not what they were
	LostParity []int // shards of parity that are not, in the order of the parity file
	LostTables int   // blocks of the table, of both copies
	Unknown    []int // shards whose hash is lost: sectors of the pack, then parity, counted from the pack's first on
}

// Whole reports whether nothing at all is lost.
func (r Report) Whole() bool { return len(r.LostData)+len(r.LostParity)+r.LostTables == 0 }

// Worst is how many shards have been lost by the group that has lost the most, of those that have lost sectors of the
// pack. What can be mended is up to Geometry.Parity of them.
func (r Report) Worst() int {
	worst := 0
	lost, data := make([]int, r.Groups), make([]bool, r.Groups)
	for _, i := range r.LostData {
		lost[i%r.Groups]++
		data[i%r.Groups] = true
	}
	for _, i := range r.LostParity {
		lost[i%r.Groups]++
	}
	for group, n := range lost {
		if data[group] {
			worst = max(worst, n)
		}
	}
	return worst
}

// Describe returns the geometry that a parity file was made with. The error wraps pack.ErrDamaged or pack.ErrNewer.
func Describe(par []byte) (Geometry, error) {
	s, err := open(par, func(Geometry) bool { return true })
	if err != nil {
		return Geometry{}, fmt.Errorf("read parity: %w", err)
	}
	return s.Geometry, nil
}

// Check compares a pack with its parity file; either may have any damage, and any length. What lies behind the size that
// the pack should have is not looked at, nor is the name. The error wraps pack.ErrDamaged or pack.ErrNewer: nothing of the
// parity file can be read.
func Check(file, par []byte) (Report, error) {
	s, err := open(par, func(Geometry) bool { return true })
	if err != nil {
		return Report{}, fmt.Errorf("read parity: %w", err)
	}
	return s.examine(file), nil
}

// Repair returns the pack of the given name, which was size bytes long, from what is left of it and of its parity file. The
// pack's file may be shorter or longer, or empty. Neither is changed; a pack that is whole is returned as it is.
//
// Whatever comes without an error has the name that was asked for. The error wraps ErrTooDamaged, beside it pack.ErrNewer
// when a newer platter made the parity file. The Report says what was lost; one without a Pack says that the parity file
// could not be read, or is that of another pack.
func Repair(file []byte, size int64, par []byte, name pack.FileID) ([]byte, Report, error) {
	whole := int64(len(file)) == size && pack.Sum(file) == name
	s, err := open(par, func(g Geometry) bool { return g.Pack == name && g.Size == size })
	if err != nil && whole {
		return file, Report{}, nil
	} else if err != nil {
		return nil, Report{}, fmt.Errorf("read parity: %w: %w", ErrTooDamaged, err)
	}
	if whole {
		return file, s.examine(file), nil
	}
	r := s.examine(file)
	if n := r.Worst(); n > s.Parity {
		return nil, r, fmt.Errorf("%w: %d shards are lost in one of %d groups, and %d can be mended",
			ErrTooDamaged, n, s.Groups, s.Parity)
	}
	c, err := newCode(s.Geometry)
	if err != nil {
		return nil, r, fmt.Errorf("%w: %w", ErrTooDamaged, err)
	}
	fixed, parity := make([]byte, size), padded(s.parity, s.Groups*s.Parity*Sector)
	for _, guess := range s.guesses(r) {
		copy(fixed, file)
		if err := c.mend(fixed, parity, s.mark(r, guess)); err != nil {
			return nil, r, fmt.Errorf("%w: %w", ErrTooDamaged, err)
		}
		if pack.Sum(fixed) == name {
			return fixed, r, nil
		}
	}
	if n := len(r.Unknown); n > 0 {
		return nil, r, fmt.Errorf("%w: the parity file has lost both hashes of %d shards", ErrTooDamaged, n)
	}
	return nil, r, fmt.Errorf("%w: what its parity file gives is another pack", ErrTooDamaged)
}

// examine compares every shard with its hash. What does not lie in its file whole is lost.
func (s *sidecar) examine(file []byte) Report {
	r := Report{Geometry: s.Geometry, LostTables: s.lost}
	for shard := range s.shards() {
		p, at := file, shard
		lost := &r.LostData
		if shard >= s.sectors() {
			p, at = s.parity, shard-s.sectors()
			lost = &r.LostParity
		}
		if (at+1)*Sector > len(p) {
			*lost = append(*lost, at)
			continue
		}
		want, got := s.hashOf(shard), hash(p[at*Sector:(at+1)*Sector])
		if want == nil {
			r.Unknown = append(r.Unknown, shard)
		} else if !bytes.Equal(want, got[:]) {
			*lost = append(*lost, at)
		}
	}
	return r
}

// mark returns which shards are lost if those of a guess are, too.
func (s *sidecar) mark(r Report, guess []int) []bool {
	lost := make([]bool, s.shards())
	for _, i := range r.LostData {
		lost[i] = true
	}
	for _, i := range r.LostParity {
		lost[s.sectors()+i] = true
	}
	for _, shard := range guess {
		lost[shard] = true
	}
	return lost
}

// maxGuesses bounds how often Repair tries: each time takes a third of a second for a pack of the usual size.
const maxGuesses = 64

// guesses are sets of unknown shards that may be lost beside those that are known to be. The first is none of them. Then
// come runs, as long as the parity is enough for, each beginning in the middle of the one before: sectors are mostly
// lost side by side.
func (s *sidecar) guesses(r Report) [][]int {
	guesses := [][]int{nil}
	for rest := r.Unknown; len(rest) > 0 && len(guesses) < maxGuesses; {
		n := s.room(r, rest)
		if n == 0 {
			break
		}
		guesses = append(guesses, rest[:n])
		if n == len(rest) {
			break
		}
		rest = rest[(n+1)/2:]
	}
	return guesses
}

// room is how many of the shards may be lost as well.
func (s *sidecar) room(r Report, shards []int) int {
	left := make([]int, s.Groups)
	for group := range left {
		left[group] = s.Parity
	}
	for shard, lost := range s.mark(r, nil) {
		if lost {
			left[s.group(shard)]--
		}
	}
	for i, shard := range shards {
		if left[s.group(shard)] <= 0 {
			return i
		}
		left[s.group(shard)]--
	}
	return len(shards)
}
