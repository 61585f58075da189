// Package parity makes files that are stored beside packs, and mends packs from them when the disk loses sectors.
//
// Its promise: Repair returns the pack with the requested name or an error, whatever the parity file says. It mends
// any lost sectors unless a group (see Geometry) has lost more shards than it has shards of parity. A parity file
// holds no keys, and reveals nothing that the pack beside it does not.
package parity

import (
	"errors"
	"math/bits"

	"platter/pack"
)

// Sector is the length of a shard in bytes: the least that a disk loses. Everything is aligned to it, so that no lost
// sector costs more than one shard.
const Sector = 4096

// Shares of parity, in thousandths of the pack.
const (
	DefaultShare = 30
	MaxShare     = 1000 // as much parity as pack: the parity file alone can restore the pack
)

// MaxFile bounds a parity file, in bytes.
const MaxFile = 1040 << 20

// maxGroups limits the work that a forged file can cause. The largest pack with the largest share needs 8 groups.
const maxGroups = 8

// field is the maximum number of shards in a group: the code counts in 16-bit numbers.
const field = 1 << 16

// ErrTooDamaged says that the parity file cannot mend the pack.
var ErrTooDamaged = errors.New("too damaged to be mended")

// A Geometry describes the parity of a pack.
//
// The pack's sectors are dealt out to groups: sector i belongs to group i mod Groups. Most packs have one group.
// Packs from about 250 MiB on need more, because a group cannot have more than 65536 shards. Because sectors are
// dealt out, a run of lost sectors affects all groups alike. Larger shards would cost as much and could never mend
// more.
type Geometry struct {
	Pack   pack.FileID // the pack's name
	Size   int64       // bytes of the pack, a multiple of Sector
	Groups int
	Parity int // shards of parity in each group: the number of lost shards that the group can replace
}

// NewGeometry returns the geometry that Encode chooses for a pack of size bytes and a share in thousandths, with as few
// groups as possible. It fails for a size that is not a multiple of Sector.
func NewGeometry(name pack.FileID, size int64, share int) (Geometry, error) {
	if !packSize(size) || share < 1 || share > MaxShare {
		return Geometry{}, errors.New("parity does not support this pack size or share")
	}
	for groups := 1; ; groups++ {
		g := Geometry{Pack: name, Size: size, Groups: groups}
		g.Parity = (g.data()*share + 999) / 1000
		if g.valid() {
			return g, nil
		}
	}
}

// packSize reports whether a pack can be size bytes long.
func packSize(size int64) bool { return size >= Sector && size <= pack.MaxSize && size%Sector == 0 }

// valid reports whether this code can compute with the geometry. Its FFT rounds Parity up to a power of two, and
// processes data in groups of that many shards.
func (g Geometry) valid() bool {
	if !packSize(g.Size) || g.Groups < 1 || g.Groups > min(maxGroups, g.sectors()) || g.Parity < 1 || g.Parity > g.data() {
		return false
	}
	step := g.step()
	return (g.data()+step-1)/step*step+step <= field
}

// step returns Parity rounded up to a power of two.
func (g Geometry) step() int { return roundUp(g.Parity) }

// roundUp returns the next power of two.
func roundUp(n int) int { return 1 << bits.Len(uint(n-1)) }

// sectors returns the number of shards in the pack.
func (g Geometry) sectors() int { return int(g.Size / Sector) }

// data returns the number of data shards in a group. Some groups may lack the last one, which then counts as zeros.
func (g Geometry) data() int { return (g.sectors() + g.Groups - 1) / g.Groups }

// shards returns the number of all shards: first those of the pack, then those of parity. Parity shard i belongs to
// group i mod Groups.
func (g Geometry) shards() int { return g.sectors() + g.Groups*g.Parity }

// group returns the group of a shard.
func (g Geometry) group(shard int) int {
	if shard >= g.sectors() {
		shard -= g.sectors()
	}
	return shard % g.Groups
}

// tables returns the number of blocks in the table of the shards' hashes.
func (g Geometry) tables() int { return (g.shards() + tableHashes - 1) / tableHashes }

// FileSize returns the parity file's length in bytes: the table, the parity, and the table again.
func (g Geometry) FileSize() int64 {
	return int64(2*g.tables()+g.Groups*g.Parity) * Sector
}
