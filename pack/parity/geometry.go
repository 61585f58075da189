// Package parity makes files that lie beside packs and mend them when the disk under them loses sectors.
//
// Its promise: what Repair returns is the pack of the name that was asked for, whatever the parity file says; and any
// lost sectors are mended as long as no group (see Geometry) has lost more shards than it has shards of parity. A parity
// file holds no keys, and tells nothing that the pack beside it does not.
package parity

import (
	"errors"
	"math/bits"

	"platter/pack"
)

// Sector is the length of a shard in bytes: the least that a disk loses. Everything lies on multiples of it, so that no
// lost sector costs more than one shard.
const Sector = 4096

// Shares of parity, in thousandths of the pack.
const (
	DefaultShare = 30
	MaxShare     = 1000 // as much parity as pack: the pack can be made of the parity file alone
)

// MaxFile bounds a parity file, in bytes.
const MaxFile = 1040 << 20

// maxGroups bounds what a forged file can make a reader do. The largest pack with the largest share needs 8 groups.
const maxGroups = 8

// field is how many shards a group can have: the code counts in numbers of 16 bits.
const field = 1 << 16

// ErrTooDamaged says that the parity file cannot mend the pack.
var ErrTooDamaged = errors.New("too damaged to be mended")

// A Geometry says how the parity of a pack was made.
//
// The pack is cut into sectors, and they are dealt out to groups: sector i belongs to group i mod Groups. Most packs have
// one group. More are needed from about 250 MiB on, because a group cannot have more than 65536 shards. Dealing them out
// means that a run of lost sectors hits all groups alike; larger shards would cost as much, and could never mend more.
type Geometry struct {
	Pack   pack.FileID // the pack's name
	Size   int64       // bytes of the pack, a multiple of Sector
	Groups int
	Parity int // shards of parity in each group, which is how many lost shards the group can do without
}

// Plan returns the geometry that Encode chooses for a pack of size bytes and a share in thousandths: as few groups as can
// be. There is none for a size that is no multiple of Sector.
func Plan(name pack.FileID, size int64, share int) (Geometry, error) {
	if !packSize(size) || share < 1 || share > MaxShare {
		return Geometry{}, errors.New("no parity for a pack of this size or by this share")
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

// valid reports whether this code can compute with the geometry. Its FFT rounds Parity up to a power of two, and takes
// data in pieces of that many shards.
func (g Geometry) valid() bool {
	if !packSize(g.Size) || g.Groups < 1 || g.Groups > min(maxGroups, g.sectors()) || g.Parity < 1 || g.Parity > g.data() {
		return false
	}
	step := g.step()
	return (g.data()+step-1)/step*step+step <= field
}

// step is Parity rounded up to a power of two.
func (g Geometry) step() int { return roundUp(g.Parity) }

// roundUp returns the next power of two.
func roundUp(n int) int { return 1 << bits.Len(uint(n-1)) }

// sectors is how many shards the pack has.
func (g Geometry) sectors() int { return int(g.Size / Sector) }

// data is how many of them are in one group. The last may be missing in some groups, and counts as zeros there.
func (g Geometry) data() int { return (g.sectors() + g.Groups - 1) / g.Groups }

// shards counts all shards: first those of the pack, then those of parity, of which number i belongs to group i mod Groups.
func (g Geometry) shards() int { return g.sectors() + g.Groups*g.Parity }

// group is the group of a shard.
func (g Geometry) group(shard int) int {
	if shard >= g.sectors() {
		shard -= g.sectors()
	}
	return shard % g.Groups
}

// tables is how many blocks the table of all shards' hashes takes.
func (g Geometry) tables() int { return (g.shards() + tableHashes - 1) / tableHashes }

// FileSize is the parity file's length in bytes: the table, the parity, the table again.
func (g Geometry) FileSize() int64 {
	return int64(2*g.tables()+g.Groups*g.Parity) * Sector
}
