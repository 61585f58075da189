package wire_test

import (
	"fmt"

	"platter/snapshot/image/nbd/wire"
)

// An entry of a server's list is read from its bytes.
func ExampleParseListed() {
	data := wire.Listed{Name: "disk", Description: "of the laptop"}.Append(nil)
	entry, err := wire.ParseListed(data)
	fmt.Println(entry.Name, entry.Description, err)
	// Output: disk of the laptop <nil>
}
