package parity

import (
	"bytes"
	"fmt"

	"platter/pack"
)

// A Report lists what is lost according to the parity file's own table. Nothing proves that table.
type Report struct {
	Geometry
	LostData   []int // sectors of the pack that do not match their hash
	LostParity []int // shards of parity that do not match, in the order of the parity file
	LostTables int   // blocks of the table, counting both copies
	Unknown    []int // shards with a lost hash: sectors of the pack, then parity, numbered from the pack's first
}

// Whole reports whether nothing is lost.
func (r Report) Whole() bool { return len(r.LostData)+len(r.LostParity)+r.LostTables == 0 }

// Worst returns the largest number of shards that a group has lost, among groups that have lost sectors of the pack.
// The pack can be mended if this is at most Geometry.Parity.
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

// Describe returns the geometry of a parity file. The error wraps pack.ErrDamaged or pack.ErrNewer.
func Describe(par []byte) (Geometry, error) {
	s, err := open(par, func(Geometry) bool { return true })
	if err != nil {
		return Geometry{}, fmt.Errorf("read parity: %w", err)
	}
	return s.Geometry, nil
}

// Check compares a pack with its parity file. Either may have any damage and any length. Check ignores the pack's
// name, and its bytes past its proper size. The error wraps pack.ErrDamaged or pack.ErrNewer if no table of the
// parity file can be read.
func Check(file, par []byte) (Report, error) {
	s, err := open(par, func(Geometry) bool { return true })
	if err != nil {
		return Report{}, fmt.Errorf("read parity: %w", err)
	}
	return s.examine(file), nil
}

// Repair returns the pack of the given name and of size bytes, from the rest of it and its parity file. The pack's
// file may be shorter or longer, or empty. Repair changes neither input; it returns an intact pack as it is.
//
// A pack returned without an error always has the requested name. The error wraps ErrTooDamaged, and also
// pack.ErrNewer if a newer platter made the parity file. The Report lists what was lost. A Report without a Pack
// means that the parity file is unreadable or belongs to another pack.
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
		return nil, r, fmt.Errorf("%w: one of %[3]d groups has lost %[2]d shards; parity can replace %[4]d",
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
		return nil, r, fmt.Errorf("%w: both copies of the hashes of %d shards are lost", ErrTooDamaged, n)
	}
	return nil, r, fmt.Errorf("%w: the mended pack does not match its name", ErrTooDamaged)
}

// examine compares every shard with its hash. A shard that its file does not hold whole is lost.
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

// mark returns which shards are lost if those of a guess are lost too.
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

// maxGuesses limits Repair's attempts: each takes a third of a second for a pack of the usual size.
const maxGuesses = 64

// guesses returns sets of unknown shards that may be lost besides the known lost ones. The first set is empty. The
// others are runs as long as the parity suffices for, each beginning in the middle of the one before: lost sectors
// are mostly adjacent.
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

// room returns how many of the shards, from the first on, may be lost as well.
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
