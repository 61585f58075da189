package restore

import (
	"fmt"
	"os"
	"path/filepath"
)

// A RoomError says that a file system lacks room for a file.
type RoomError struct {
	Needs   int64 // bytes that are to be written and do not lie there yet
	Free    int64 // bytes
	Certain bool  // the file system keeps bytes as they are: it does not compress them
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("no space left for it: it takes %d bytes, and its file system has %d; nothing was written", e.Needs, e.Free)
}

// A room is what a file system has left.
type room struct {
	free  int64 // bytes, for this user
	plain bool  // what is written to it takes what it is long
	dense bool  // it has no holes
	known bool
}

// lacks returns what a file system lacks for data bytes of a file that is length bytes long; nil where it lacks nothing, or
// nobody knows.
func (r room) lacks(data, length, allocated int64) *RoomError {
	needs := data
	if r.dense {
		needs = length
	}
	needs = max(0, needs-allocated)
	if !r.known || r.free >= needs {
		return nil
	}
	// Chunks hold zero blocks, which become holes. They are few, but nobody counted them.
	return &RoomError{needs, r.free, r.plain && r.free < needs-needs/10}
}

// refusal is what lacks returned as an error, where a restore cannot but fail.
func (e *RoomError) refusal() error {
	if e == nil || !e.Certain {
		return nil
	}
	return e
}

// roomFor returns what the file system of a file that is to be made has left.
func roomFor(path string) room {
	f, err := openToLook(filepath.Dir(path))
	if err != nil {
		return room{}
	}
	defer f.Close()
	return roomOf(f)
}

// roomIn returns the same of an open file, and what it takes already.
func roomIn(f *os.File) (r room, allocated int64) { return roomOf(f), allocatedTo(f) }
