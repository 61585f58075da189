package index_test

import (
	"fmt"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// Example claims a chunk before storing it, and looks it up once its pack is in the index.
func Example() {
	id := chunk.NewNamer([32]byte{1}).ID([]byte("a run of a disk"))

	var x index.Index
	fmt.Println("first claim:", x.Claim(id))
	fmt.Println("second claim:", x.Claim(id))

	table := &pack.Table{
		Frames: []pack.Frame{{Kind: chunk.Data, Sealed: 56, Raw: 15, Chunks: 1}},
		Chunks: []pack.Ref{{ID: id, Len: 15}},
	}
	x.AddPack(index.Pack{ID: pack.FileID{2}, Size: 4096}, table)
	at, ok := x.Lookup(id)
	fmt.Println(ok, "frame at byte", at.Offset, "chunk of", at.Len, "bytes")
	// Output:
	// first claim: true
	// second claim: false
	// true frame at byte 12 chunk of 15 bytes
}
