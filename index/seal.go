package index

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
)

// A Cache says where runs are kept between openings of a repository, and how to verify that platter wrote one. The
// zero Cache keeps none.
//
// The proof is a keyed hash, because a run decides which chunks are not stored again. The user may name any folder, and
// a process that can write there may not be trusted with that decision.
type Cache struct {
	Folder string // "" for none
	Key    [32]byte
	Repo   [16]byte // the repository's ID

	remote bool // treat the folder as one that cannot be mapped: for tests
}

const (
	runMagic    = "platterR"
	runVersion  = 1
	segment     = 4 << 20 // bytes that one sum covers
	sumSize     = 32
	trailerSize = 8 + 4 + 16 + 5*4 + 8 + 8 // without the seal
)

// A trailer holds the lengths of a run's sections.
type trailer struct {
	packs, frames, files, links, superseded uint32
	records, body                           uint64 // body: bytes before the sums
}

// appendTo appends
//
//	magic 8, version u32, repository id 16, packs u32, frames u32, files u32, links u32, superseded u32, records u64, body u64
func (t *trailer) appendTo(dst []byte, repo [16]byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(append(dst, runMagic...), runVersion)
	dst = append(dst, repo[:]...)
	for _, n := range []uint32{t.packs, t.frames, t.files, t.links, t.superseded} {
		dst = le.AppendUint32(dst, n)
	}
	return le.AppendUint64(le.AppendUint64(dst, t.records), t.body)
}

// sections returns the length of each section in bytes. Products of 32-bit numbers do not overflow.
func (t *trailer) sections() [7]uint64 {
	return [7]uint64{
		runPack * uint64(t.packs), runFrame * uint64(t.frames), runFile * uint64(t.files), runLink * uint64(t.links),
		uint64(idSize) * uint64(t.superseded), recordSize * t.records, bucketSize,
	}
}

var errNoRun = errors.New("no run of this repository")

// readTrailer parses the end of a run and reads nothing else.
func readTrailer(data []byte, c *Cache) (t trailer, err error) {
	end := len(data) - trailerSize - sumSize
	if end < 0 {
		return t, errNoRun
	}
	p, le := data[end:], binary.LittleEndian
	if string(p[:8]) != runMagic || le.Uint32(p[8:]) != runVersion || [16]byte(p[12:28]) != c.Repo {
		return t, errNoRun
	}
	t = trailer{le.Uint32(p[28:]), le.Uint32(p[32:]), le.Uint32(p[36:]), le.Uint32(p[40:]), le.Uint32(p[44:]), le.Uint64(p[48:]), le.Uint64(p[56:])}
	if t.records >= math.MaxUint32 || t.body > uint64(end) {
		return t, errNoRun
	}
	body := uint64(0)
	for _, n := range t.sections() {
		body += n
	}
	if body != t.body || t.body+sumSize*((t.body+segment-1)/segment) != uint64(end) {
		return t, errNoRun
	}
	return t, nil
}

// parseRun verifies data and returns the run in it. The seal proves the sums, and the sums prove the rest.
func parseRun(data []byte, c *Cache) (*run, error) {
	t, err := readTrailer(data, c)
	if err != nil {
		return nil, err
	}
	body, end := data[:t.body], data[t.body:]
	sums, seal := end[:len(end)-sumSize], end[len(end)-sumSize:]
	if got := keyedSum(c, sums); subtle.ConstantTimeCompare(got[:], seal) != 1 {
		return nil, errNoRun
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n := 0; n*segment < len(body); n++ {
		g.Go(func() error {
			if keyedSum(c, body[n*segment:min(len(body), (n+1)*segment)]) != [sumSize]byte(sums[n*sumSize:]) {
				return fmt.Errorf("%w: segment %d is damaged", errNoRun, n)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	r := layOut(data, &t)
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRun, err)
	}
	return r, nil
}

// layOut splits a valid run into its sections.
func layOut(data []byte, t *trailer) *run {
	r := &run{data: data, free: func() {}, packCount: int(t.packs), frameCount: int(t.frames), fileCount: int(t.files), recordCount: int(t.records)}
	sections := t.sections()
	for i, to := range []*[]byte{&r.packs, &r.frames, &r.files, &r.links, &r.superseded, &r.records, &r.bucket} {
		*to, data = data[:sections[i]:sections[i]], data[sections[i]:]
	}
	return r
}

func keyedSum(c *Cache, data []byte) (sum [sumSize]byte) {
	h, err := blake3.NewKeyed(c.Key[:])
	if err != nil {
		panic(err) // only for a key of the wrong length
	}
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// A sealer writes a run to a sink: first the body, then its sums. Each segment is summed while the sink writes it.
type sealer struct {
	sink  func([]byte) error
	cache *Cache
	buf   []byte
	sums  [][sumSize]byte
	body  uint64
	work  errgroup.Group
}

func newSealer(c *Cache, sink func([]byte) error) *sealer {
	return &sealer{sink: sink, cache: c}
}

func (s *sealer) write(p []byte) error {
	s.body += uint64(len(p))
	for len(p) > 0 {
		n := min(len(p), segment-len(s.buf))
		s.buf, p = append(s.buf, p[:n]...), p[n:]
		if len(s.buf) == segment {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sums a segment on another core while the sink writes it.
func (s *sealer) flush() error {
	full := s.buf
	sum := make(chan [sumSize]byte, 1)
	s.work.Go(func() error { sum <- keyedSum(s.cache, full); return nil })
	err := s.sink(full)
	s.sums = append(s.sums, <-sum)
	s.buf = full[:0]
	return err
}

// finish writes the sums, the trailer and the seal.
func (s *sealer) finish(t trailer) error {
	if len(s.buf) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	var end []byte
	for _, sum := range s.sums {
		end = append(end, sum[:]...)
	}
	t.body = s.body
	end = t.appendTo(end, s.cache.Repo)
	seal := keyedSum(s.cache, end)
	return s.sink(append(end, seal[:]...))
}
