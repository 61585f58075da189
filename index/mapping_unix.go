//go:build unix

package index

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	canMap           = true
	removesOpenFiles = true // a file that is open can lose its name
)

// mapFile maps a file of this machine. Of another machine's a mapping would end the process with SIGBUS once the server goes away,
// where a read says what is wrong. What remains is that somebody cuts the file off meanwhile: nobody has business in the cache's
// folder, files in it are only ever replaced, and a process that ends has lost nothing.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if !isLocal(f) {
		return nil, errors.ErrUnsupported
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) { unix.Munmap(data) } // fails only for what was not mapped
