package anatomy_test

import (
	"fmt"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// Example describes a disk with an MBR.
func Example() {
	disk := image.Mem{Data: make([]byte, 4<<20)}
	disk.Data[510], disk.Data[511] = 0x55, 0xaa
	copy(disk.Data[446:], []byte{0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0}) // 1 MiB at 1 MiB
	copy(disk.Data[1<<20:], "hsqs")                                                     // squashfs 4.0
	disk.Data[1<<20+28] = 4

	d := anatomy.Read(disk, 512)
	fmt.Println("table:", d.Table)
	for _, p := range d.Partitions {
		fmt.Printf("partition %d: %d bytes at %d, %s, %s %s\n", p.Number, p.Len, p.Off, p.TypeName, p.Content.Type, p.Content.Version)
	}
	// Output:
	// table: mbr
	// partition 1: 1048576 bytes at 1048576, Linux, squashfs 4.0
}
