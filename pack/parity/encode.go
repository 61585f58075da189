package parity

import (
	"fmt"

	"platter/pack"
)

// Encode returns the parity file of a pack, and does not change the pack. The share is in thousandths of the pack,
// from 1 to MaxShare. The name must be the pack's own: a parity file under another name never mends anything.
func Encode(file []byte, name pack.FileID, share int) ([]byte, error) {
	g, err := NewGeometry(name, int64(len(file)), share)
	if err != nil {
		return nil, fmt.Errorf("encode parity of %d bytes, %d‰: %w", len(file), share, err)
	}
	par, err := g.encode(file)
	if err != nil {
		return nil, fmt.Errorf("encode parity of %d bytes, %d‰: %w", len(file), share, err)
	}
	return par, nil
}

// encode returns the parity file for the geometry.
func (g Geometry) encode(file []byte) ([]byte, error) {
	c, err := newCode(g)
	if err != nil {
		return nil, err
	}
	par := make([]byte, g.FileSize())
	again := g.places(0)[1]
	parity := par[g.tables()*Sector : again]
	if err := c.encode(file, parity); err != nil {
		return nil, err
	}
	for n := range g.tables() {
		block := par[n*Sector : (n+1)*Sector]
		for i := range min(tableHashes, g.shards()-n*tableHashes) {
			sum := hash(g.shard(file, parity, n*tableHashes+i))
			copy(block[tableHead+i*hashSize:], sum[:])
		}
		g.sealTable(block, n)
	}
	copy(par[again:], par)
	return par, nil
}

// shard returns a shard of the pack or of the parity.
func (g Geometry) shard(file, parity []byte, shard int) []byte {
	if shard >= g.sectors() {
		file, shard = parity, shard-g.sectors()
	}
	return file[shard*Sector : (shard+1)*Sector]
}
