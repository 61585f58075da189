package virtual_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"platter/snapshot/image"
	"platter/snapshot/image/virtual"
)

// Example writes a disk to a VMDK file and reads it back.
func Example() {
	dir, err := os.MkdirTemp("", "virtual")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "disk.vmdk")

	disk := append(bytes.Repeat([]byte("platter "), 8<<10), make([]byte, 16<<20)...) // 64 KiB of data
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	w, err := virtual.Create(file, "vmdk", int64(len(disk)), virtual.CreateOptions{})
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(disk[:64<<10]); err != nil {
		panic(err)
	}
	if err := w.Skip(16 << 20); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	info, err := file.Stat()
	if err != nil {
		panic(err)
	}
	file.Close()

	f, err := image.Open(path)
	if err != nil {
		panic(err)
	}
	format, err := virtual.Detect(f)
	if err != nil {
		panic(err)
	}
	d, err := virtual.Open(f, format, virtual.Options{})
	if err != nil {
		panic(err)
	}
	defer d.Close()
	got := make([]byte, d.Size())
	if _, err := d.ReadAt(got, 0); err != nil {
		panic(err)
	}
	fmt.Println(format, "holds a disk of", d.Size(), "bytes, the same:", bytes.Equal(got, disk))
	fmt.Println("the file is smaller than the disk:", info.Size() < d.Size()/10)
	// Output:
	// vmdk holds a disk of 16842752 bytes, the same: true
	// the file is smaller than the disk: true
}
