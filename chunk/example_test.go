package chunk_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"platter/chunk"
)

// Example cuts a region into zero runs and chunks, and names each chunk.
func Example() {
	poly, err := chunk.DerivePoly(rand.NewChaCha8([32]byte{1})) // a repository derives it from a secret key
	if err != nil {
		panic(err)
	}
	cutter, err := chunk.NewCutter(poly, chunk.ParamsFor(64<<10))
	if err != nil {
		panic(err)
	}
	namer := chunk.NewNamer([32]byte{2})

	file := bytes.Repeat([]byte("platter "), 16<<10) // 128 KiB
	zeros := make([]byte, 1<<20)
	region := append(append(bytes.Clone(file), zeros...), file...)

	var first chunk.ID
	cutter.Reset()
	for rest := region; len(rest) > 0; {
		n, zero := cutter.Next(rest, true)
		switch id := namer.ID(rest[:n]); {
		case zero:
			fmt.Println(n, "zeros")
		case id == first:
			fmt.Println(n, "bytes, the same chunk again")
		default:
			fmt.Println(n, "bytes, a new chunk")
			first = id
		}
		rest = rest[n:]
	}
	// Output:
	// 131072 bytes, a new chunk
	// 1048576 zeros
	// 131072 bytes, the same chunk again
}
