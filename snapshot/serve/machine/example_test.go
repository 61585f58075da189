package machine_test

import (
	"fmt"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/serve/machine"
)

// A disk with an EFI system partition, and no code in its first sector, starts by UEFI.
func ExampleFirmwareOf() {
	disk := image.Mem{Data: make([]byte, 4096)}
	d := &anatomy.Disk{Table: anatomy.GPT, Partitions: []anatomy.Partition{{Number: 1, Type: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"}}}
	fmt.Println(machine.FirmwareOf(disk, d), machine.FirmwareOf(disk, nil))
	// Output: uefi bios
}
