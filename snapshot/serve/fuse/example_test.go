package fuse_test

import (
	"fmt"

	"platter/snapshot/serve/fuse"
)

// A name that a folder can hold stays, and others are changed.
func ExampleSafeNames() {
	fmt.Println(fuse.SafeNames([]string{"laptop", "nas/sda"}))
	// Output: [laptop nas_sda]
}
