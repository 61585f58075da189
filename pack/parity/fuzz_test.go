package parity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"

	"platter/pack"
)

func newRand() *rand.Rand { return rand.New(rand.NewPCG(6, 7)) }

// FuzzDescribe parses one block of a table. It fixes the block's sum, since a fuzzer cannot find it.
func FuzzDescribe(f *testing.F) {
	s := newSample(f, 3, 1, 2)
	f.Add(s.par[:tableSum])
	f.Add(newSample(f, 9, 4, 2).par[:tableSum])
	f.Add(s.par[:100])
	f.Add([]byte("platter\x00\x02\x00\x06\x00"))
	f.Fuzz(func(t *testing.T, head []byte) {
		block := padded(head, tableSum)
		sum := blake3.Sum256(block)
		g, err := Describe(append(block, sum[:]...))
		if err != nil {
			if errors.Is(err, pack.ErrDamaged) == errors.Is(err, pack.ErrNewer) {
				t.Fatalf("%v is neither damaged nor newer, or both", err)
			}
			return
		}
		if !g.valid() || g.FileSize() > MaxFile {
			t.Fatalf("%+v is accepted", g)
		}
	})
}

// edit applies one step of a fuzzer to a file, 5 bytes: an action, a place and a value.
func edit(file, step []byte) []byte {
	at, value := int(binary.LittleEndian.Uint16(step[1:]))%(len(file)+1), binary.LittleEndian.Uint16(step[3:])
	sector := file[at/Sector*Sector : min(at/Sector*Sector+Sector, len(file))]
	switch step[0] % 6 {
	case 0:
		return file[:at]
	case 1:
		return append(file, noise(byte(value), int(value))...)
	case 2:
		clear(sector)
	case 3:
		copy(sector, noise(byte(value), Sector))
	case 4:
		copy(sector, file) // the first sector's bytes
	case 5:
		if at+1 < len(file) {
			binary.LittleEndian.PutUint16(file[at:], value)
		}
	}
	return file
}

// FuzzRepair passes Repair a pack and a parity file with any damage. The fuzzer describes the damage in steps,
// because whole files are too many bytes to try. A forging step also fixes the sums of table blocks.
func FuzzRepair(f *testing.F) {
	s := newSample(f, 3, 1, 2)
	f.Add([]byte{}, []byte{}, false)
	f.Add([]byte{2, 0, 0, 0, 0, 3, 0, 16, 1, 0}, []byte{2, 0, 0, 0, 0}, false)
	f.Add([]byte{0, 1, 32, 0, 0}, []byte{0, 0, 48, 0, 0}, false)
	f.Add([]byte{1, 0, 0, 7, 7}, []byte{2, 0, 16, 0, 0, 4, 0, 48, 0, 0}, true)
	f.Add([]byte{5, 0, 0, 9, 9}, []byte{5, 52, 0, 3, 0, 4, 0, 48, 0, 0}, true)
	f.Add([]byte{0, 0, 0, 0, 0}, []byte{0, 0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, inPack, inParity []byte, forge bool) {
		bad := s.clone()
		for ; len(inPack) >= 5; inPack = inPack[5:] {
			bad.file = edit(bad.file, inPack)
		}
		for ; len(inParity) >= 5; inParity = inParity[5:] {
			bad.par = edit(bad.par, inParity)
		}
		for at := 0; forge && at+Sector <= len(bad.par); at += Sector {
			sum := blake3.Sum256(bad.par[at : at+tableSum])
			copy(bad.par[at+tableSum:], sum[:])
		}
		got, r, err := bad.mend()
		if err == nil && !bytes.Equal(got, s.file) || err != nil && (got != nil || !errors.Is(err, ErrTooDamaged)) {
			t.Fatalf("%v, %d bytes", err, len(got))
		}
		if len(r.LostData) > s.sectors() || len(r.Unknown) > r.shards() {
			t.Fatalf("%+v", r)
		}
		if r, err := Check(bad.file, bad.par); err == nil && !r.Geometry.valid() {
			t.Fatalf("%+v", r)
		}
	})
}
