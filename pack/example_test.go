package pack_test

import (
	"errors"
	"fmt"

	"platter/chunk"
	"platter/pack"
)

// plain stands for an authenticated cipher, as in repo/crypt. It does not encrypt.
type plain struct{}

func (plain) SealInPlace(buf []byte) []byte { return append(buf, make([]byte, pack.TagSize)...) }

func (plain) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < pack.NonceSize+pack.TagSize {
		return nil, errors.New("too short")
	}
	return sealed[pack.NonceSize : len(sealed)-pack.TagSize], nil
}

// Example writes a pack with one frame, then reads its table and the frame.
func Example() {
	keys := pack.Keys{Data: plain{}, Map: plain{}, Table: plain{}, Tail: plain{}}

	frame := &pack.Open{Kind: chunk.Data}
	frame.Add(chunk.ID{1}, []byte("a run of a disk"))
	sealed, err := pack.NewEncoder(keys).Encode(frame, pack.CompressDefault)
	if err != nil {
		panic(err)
	}
	b := pack.NewBuilder(nil)
	b.Add(frame, sealed)
	file, name, _ := b.Finish(keys)
	fmt.Println("the name is the file's hash:", name == pack.Sum(file))

	read := func(off, n int64) ([]byte, error) { return file[off:][:n], nil }
	table, err := pack.ReadTable(int64(len(file)), keys, read)
	if err != nil {
		panic(err)
	}
	d, err := pack.NewDecoder(keys, 1)
	if err != nil {
		panic(err)
	}
	f := table.Frames[0]
	chunks, err := d.Decode(nil, file[pack.HeaderSize:][:f.Sealed], f)
	fmt.Printf("%d chunk: %q, %v\n", len(table.Chunks), chunks, err)
	// Output:
	// the name is the file's hash: true
	// 1 chunk: "a run of a disk", <nil>
}
