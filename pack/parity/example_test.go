package parity_test

import (
	"bytes"
	"fmt"

	"platter/pack"
	"platter/pack/parity"
)

// Example mends a pack whose disk has lost a sector.
func Example() {
	file := bytes.Repeat([]byte("platter "), 8*parity.Sector) // 64 sectors
	name := pack.Sum(file)
	par, err := parity.Encode(file, name, parity.DefaultShare)
	if err != nil {
		panic(err)
	}

	damaged := bytes.Clone(file)
	clear(damaged[3*parity.Sector : 4*parity.Sector])
	report, err := parity.Check(damaged, par)
	fmt.Println("lost sectors:", report.LostData, err)

	mended, _, err := parity.Repair(damaged, int64(len(file)), par, name)
	fmt.Println("mended:", bytes.Equal(mended, file), err)
	// Output:
	// lost sectors: [3] <nil>
	// mended: true <nil>
}
