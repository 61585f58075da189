package restore

import (
	"fmt"
	"os"
	"path/filepath"
)

// A RoomError says that a file system has too little room for a file.
type RoomError struct {
	Needs   int64 // bytes to write that are not allocated yet
	Free    int64 // bytes
	Certain bool  // the file system does not compress, so it needs every byte
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("no space left for it: it takes %d bytes, and its file system has %d; nothing was written", e.Needs, e.Free)
}

// A room is the free space of a file system.
type room struct {
	free  int64 // bytes, for this user
	plain bool  // it does not compress
	dense bool  // it has no holes
	known bool
}

// lacks returns an error if data bytes of a file of length bytes do not fit. It returns nil if they fit or this is not
// known.
func (r room) lacks(data, length, allocated int64) *RoomError {
	needs := data
	if r.dense {
		needs = length
	}
	needs = max(0, needs-allocated)
	if !r.known || r.free >= needs {
		return nil
	}
	// Chunks contain some zero blocks, which become holes. They are few, but their number is not known.
	return &RoomError{needs, r.free, r.plain && r.free < needs-needs/10}
}

// refusal returns e if a restore is certain to fail.
func (e *RoomError) refusal() error {
	if e == nil || !e.Certain {
		return nil
	}
	return e
}

// roomFor returns the free space of the file system for a file to be created.
func roomFor(path string) room {
	f, err := openToLook(filepath.Dir(path))
	if err != nil {
		return room{}
	}
	defer f.Close()
	return roomOf(f)
}

// roomIn returns the same for an open file, and what the file already occupies.
func roomIn(f *os.File) (r room, allocated int64) { return roomOf(f), allocatedTo(f) }
