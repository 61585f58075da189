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
// Block n has the hashes of the shards from 500·n on, zeros where there are no more shards; the sum is the BLAKE3-256 of
// what is before it. Every block has the whole geometry, so any one of them tells how to read the file. A block is lost
// only where both of its places are, and they are as far from each other as can be.
const (
	tableHead   = 64
	tableHashes = 500
	hashSize    = 8
	tableSum    = tableHead + tableHashes*hashSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash is what the table has of a shard: CRC-32C and CRC-32, which is 64 bits that find faults ten times as fast as half a
// BLAKE3. Nobody is kept from forging them, and need not be: the pack's name proves what they help to mend.
func hash(shard []byte) [hashSize]byte {
	var h [hashSize]byte
	binary.LittleEndian.PutUint32(h[:], crc32.Checksum(shard, castagnoli))
	binary.LittleEndian.PutUint32(h[4:], crc32.ChecksumIEEE(shard))
	return h
}

// sealTable fills in block n of the table, which has its hashes already.
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

// parseTable returns what a block of the table says of itself. The error wraps pack.ErrDamaged or pack.ErrNewer.
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
	// What does not fit into 31 bits is none of these numbers, also where an int has 32.
	groups, parity, number := le.Uint32(block[48:]), le.Uint32(block[52:]), le.Uint32(block[56:])
	if max(groups, parity, number) <= field {
		g.Groups, g.Parity, n = int(groups), int(parity), int(number)
	}
	if !g.valid() || n >= g.tables() || le.Uint32(block[60:]) != 0 {
		return g, 0, fmt.Errorf("%w: parity file of %d groups with %d for a pack of %d bytes", pack.ErrDamaged, groups, parity, g.Size)
	}
	return g, n, nil
}

// A sidecar is a parity file as far as it can be read.
type sidecar struct {
	Geometry
	parity []byte   // the shards of parity, as many bytes as there are
	hashes [][]byte // by block of the table; nil where both copies are lost
	lost   int      // blocks that are lost, of both copies
}

// open finds the table of a parity file, which may have any damage. Of several geometries in it, it takes that of most
// blocks among those that are wanted. The error wraps pack.ErrDamaged or pack.ErrNewer.
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

// readTables keeps the good blocks of the table.
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

// places are where block n of the table lies in the file.
func (g Geometry) places(n int) [2]int {
	return [2]int{n * Sector, (g.tables() + g.Groups*g.Parity + n) * Sector}
}

// place reports whether block n of the table lies at a place of the file.
func (g Geometry) place(n, at int) bool {
	places := g.places(n)
	return at == places[0] || at == places[1]
}

// hashOf returns the hash that a shard should have, nil when it is lost.
func (s *sidecar) hashOf(shard int) []byte {
	hashes := s.hashes[shard/tableHashes]
	if hashes == nil {
		return nil
	}
	return hashes[shard%tableHashes*hashSize:][:hashSize]
}

// padded returns the first n bytes of p, with zeros where it is shorter.
func padded(p []byte, n int) []byte {
	if len(p) >= n {
		return p[:n:n]
	}
	return append(make([]byte, 0, n), p...)[:n]
}
