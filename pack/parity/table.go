package parity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/zeebo/blake3"

	"platter/pack"
)

// A parity file, in units of 4096 bytes:
//
//	+- - - - - - - - - - -+- - - - - - - - - - -+- - - - - - - - - - -+
//	| blocks of the table | shards of parity    | the same table      |
//	+- - - - - - - - - - -+- - - - - - - - - - -+- - - - - - - - - - -+
//
// A block of the table:
//
//	0        12     44     48       52       56       60    64                 4064
//	+--------+------+------+--------+--------+--------+-----+- - - - - - - - - +-----+
//	| header | pack | size | groups | parity | number | 0   | hashes of shards | sum |
//	| 12     | 32   | u32  | u32    | u32    | u32    | u32 | 500 × 8          | 32  |
//	+--------+------+------+--------+--------+--------+-----+- - - - - - - - - +-----+
//
// Block n has the hashes of the shards from 500·n on, padded with zeros. The sum is the BLAKE3-256 of the bytes
// before it. Every block has the whole geometry, so any one of them suffices to read the file. A block is lost only
// if both of its copies are, and they are as far apart as possible.
const (
	tableHead   = 64
	tableHashes = 500
	hashSize    = 8
	tableSum    = tableHead + tableHashes*hashSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash returns the table's hash of a shard: CRC-32C and CRC-32, 64 bits that detect faults ten times as fast as half
// a BLAKE3. It can be forged, and need not resist that: the pack's name proves the mended pack.
func hash(shard []byte) [hashSize]byte {
	var h [hashSize]byte
	binary.LittleEndian.PutUint32(h[:], crc32.Checksum(shard, castagnoli))
	binary.LittleEndian.PutUint32(h[4:], crc32.ChecksumIEEE(shard))
	return h
}

// sealTable fills in block n of the table, which already has its hashes.
func (g Geometry) sealTable(block []byte, n int) {
	le := binary.LittleEndian
	copy(block, pack.Header(pack.ParityFile))
	copy(block[12:], g.Pack[:])
	le.PutUint32(block[44:], uint32(g.Size))
	le.PutUint32(block[48:], uint32(g.Groups))
	le.PutUint32(block[52:], uint32(g.Parity))
	le.PutUint32(block[56:], uint32(n))
	sum := blake3.Sum256(block[:tableSum])
	copy(block[tableSum:], sum[:])
}

// parseTable returns the geometry and the number of a table block. The error wraps pack.ErrDamaged or pack.ErrNewer.
func parseTable(block []byte) (g Geometry, n int, err error) {
	if _, err := pack.ParseHeader(block, pack.ParityFile); err != nil {
		return g, 0, err
	}
	if sum := blake3.Sum256(block[:tableSum]); !bytes.Equal(sum[:], block[tableSum:Sector]) {
		return g, 0, fmt.Errorf("%w: table of a parity file", pack.ErrDamaged)
	}
	le := binary.LittleEndian
	g.Pack = pack.FileID(block[12:44])
	g.Size = int64(le.Uint32(block[44:]))
	// Numbers beyond 31 bits are invalid, and would overflow a 32-bit int.
	groups, parity, number := le.Uint32(block[48:]), le.Uint32(block[52:]), le.Uint32(block[56:])
	if max(groups, parity, number) <= field {
		g.Groups, g.Parity, n = int(groups), int(parity), int(number)
	}
	if !g.valid() || n >= g.tables() || le.Uint32(block[60:]) != 0 {
		return g, 0, fmt.Errorf("%w: parity file of %d groups with %d for a pack of %d bytes", pack.ErrDamaged, groups, parity, g.Size)
	}
	return g, n, nil
}

// A sidecar is the readable part of a parity file.
type sidecar struct {
	Geometry
	parity []byte   // the shards of parity, perhaps cut short
	hashes [][]byte // by block of the table; nil if both copies are lost
	lost   int      // lost blocks, counting both copies
}

// open finds the table of a parity file, which may have any damage. Among the wanted geometries in it, open chooses
// the one with the most blocks. The error wraps pack.ErrDamaged or pack.ErrNewer.
func open(par []byte, wanted func(Geometry) bool) (*sidecar, error) {
	var best Geometry
	var newer error
	votes := map[Geometry]int{}
	for at := 0; at+Sector <= len(par); at += Sector {
		g, n, err := parseTable(par[at : at+Sector])
		if errors.Is(err, pack.ErrNewer) {
			newer = err
		}
		if err != nil || !g.place(n, at) || !wanted(g) {
			continue
		}
		if votes[g]++; votes[g] > votes[best] {
			best = g
		}
	}
	if len(votes) == 0 {
		if newer != nil {
			return nil, newer
		}
		return nil, fmt.Errorf("%w: no table of this pack in the parity file", pack.ErrDamaged)
	}
	s := &sidecar{Geometry: best, hashes: make([][]byte, best.tables())}
	s.readTables(par)
	from, to := best.tables()*Sector, best.places(0)[1]
	s.parity = par[min(from, len(par)):min(to, len(par))]
	return s, nil
}

// readTables keeps the valid blocks of the table.
func (s *sidecar) readTables(par []byte) {
	for n := range s.hashes {
		for _, at := range s.places(n) {
			if at+Sector > len(par) {
				s.lost++
			} else if g, number, err := parseTable(par[at : at+Sector]); err != nil || g != s.Geometry || number != n {
				s.lost++
			} else if s.hashes[n] == nil {
				s.hashes[n] = par[at+tableHead : at+tableSum]
			}
		}
	}
}

// places returns the two offsets of block n of the table in the file.
func (g Geometry) places(n int) [2]int {
	return [2]int{n * Sector, (g.tables() + g.Groups*g.Parity + n) * Sector}
}

// place reports whether block n of the table belongs at an offset of the file.
func (g Geometry) place(n, at int) bool {
	places := g.places(n)
	return at == places[0] || at == places[1]
}

// hashOf returns the expected hash of a shard, or nil if it is lost.
func (s *sidecar) hashOf(shard int) []byte {
	hashes := s.hashes[shard/tableHashes]
	if hashes == nil {
		return nil
	}
	return hashes[shard%tableHashes*hashSize:][:hashSize]
}

// padded returns the first n bytes of p, padded with zeros if p is shorter.
func padded(p []byte, n int) []byte {
	if len(p) >= n {
		return p[:n:n]
	}
	return append(make([]byte, 0, n), p...)[:n]
}
