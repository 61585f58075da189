package layout_test

import (
	"fmt"

	"platter/pack"
	"platter/repo/layout"
)

// A file is named by the hash of its bytes. Packs are in folders by the first two digits.
func ExampleName() {
	id := pack.Sum([]byte("the bytes of a file"))
	fmt.Println(layout.Name(layout.Snapshots, id)[:18])
	fmt.Println(layout.PackName(id)[:16])
	// Output:
	// snapshots/9fae028b
	// packs/9f/9fae028
}
