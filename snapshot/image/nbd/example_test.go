package nbd_test

import (
	"fmt"

	"platter/snapshot/image/nbd"
)

// The URI of an export is not the path of a file.
func ExampleIsURI() {
	for _, source := range []string{"nbd+unix:///disk?socket=/run/vm.sock", "nbds://server/disk", "disk.img"} {
		fmt.Println(nbd.IsURI(source), source)
	}
	// Output:
	// true nbd+unix:///disk?socket=/run/vm.sock
	// true nbds://server/disk
	// false disk.img
}
