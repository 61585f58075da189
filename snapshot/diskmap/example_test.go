package diskmap_test

import (
	"fmt"

	"platter/snapshot/diskmap"
)

// Ranges that touch are one range.
func ExampleRuns() {
	var r diskmap.Runs
	r.Add(0, 4096)
	r.Add(4096, 4096)
	r.Add(1<<20, 512)
	for q := range r.All() {
		fmt.Println(q.Off, q.Len)
	}
	fmt.Println(r.Count, "ranges of", r.Bytes, "bytes")
	// Output:
	// 0 8192
	// 1048576 512
	// 2 ranges of 8704 bytes
}
