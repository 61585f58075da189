package image_test

import (
	"fmt"

	"platter/snapshot/image"
)

func Example() {
	data := make([]byte, 8192)
	copy(data[4096:], "some data")
	var d image.Disk = image.Mem{Data: data, Holes: true}
	for extent, err := range d.Extents() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(extent.Off, extent.Len, extent.Zero)
	}
	// Output:
	// 0 4096 true
	// 4096 4096 false
}
