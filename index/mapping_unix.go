//go:build unix

package index

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	canMap           = true
	removesOpenFiles = true // a file that is open can lose its name
)

func mapFile(f *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) { unix.Munmap(data) } // fails only for what was not mapped
