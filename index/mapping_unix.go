//go:build unix

package index

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	canMap           = true
	removesOpenFiles = true // an open file can be unlinked
)

// mapFile maps a file of this machine. With another machine's file, a mapping would end the process with SIGBUS when
// the server disappears; a read returns an error instead.
//
// One hazard remains: another process truncates the file. That is acceptable. No other program should write to the
// cache's folder, its files are only ever replaced, and a process that ends loses no data.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if !isLocal(f) {
		return nil, errors.ErrUnsupported
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) { unix.Munmap(data) } // fails only for bytes that were not mapped
