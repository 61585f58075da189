package gpt_test

import (
	"fmt"

	"platter/snapshot/image/gpt"
)

// ExampleEndOfMBR finds the end of the last partition of an MBR.
func ExampleEndOfMBR() {
	first := make([]byte, 512)
	first[510], first[511] = 0x55, 0xaa
	copy(first[446:], []byte{0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0}) // 2 MiB at 1 MiB

	e := gpt.MBREntries(first)[0]
	fmt.Printf("type 0x%x, %d sectors from sector %d\n", e.Type, e.Count, e.First)
	end, ok := gpt.EndOfMBR(first, 512)
	fmt.Println("ends at byte", end, ok)
	fmt.Println("protective:", gpt.IsProtective(first))
	// Output:
	// type 0x83, 4096 sectors from sector 2048
	// ends at byte 3145728 true
	// protective: false
}

// ExampleRead reads the table of a disk that has none.
func ExampleRead() {
	_, err := gpt.Read(zeros{}, 1<<20, 512)
	fmt.Println(err)
	// Output:
	// no GUID partition table
}

// zeros is a disk without content.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
