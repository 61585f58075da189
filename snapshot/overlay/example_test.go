package overlay_test

import (
	"fmt"
	"log"

	"platter/snapshot/image"
	"platter/snapshot/overlay"
)

// A disk is written to, and stays as it is.
func ExampleTemporary() {
	base := image.Mem{Data: []byte("a disk that stays as it is")}
	d, err := overlay.Temporary("", base)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	if _, err := d.WriteAt([]byte("copy"), 2); err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 6)
	if _, err := d.ReadAt(p, 0); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %s\n", p, base.Data[:6])
	// Output: a copy, a disk
}
