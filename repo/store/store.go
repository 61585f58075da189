// Package store keeps immutable named files, in a folder of a NAS or in memory.
//
// It makes three promises. After Put, Create or Move returns nil, the file survives a power cut. No reader sees a
// partial file under its name. Get never returns more than requested. It promises nothing about the content of files,
// because the owner of the store can change them. So every reader above this package verifies what it reads.
//
// Optional capabilities of a store are separate interfaces (Filler, DirSyncer, Refresher, …). As finds them, also in
// wrapped stores.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// A Store holds files that are written once, read in pieces and deleted whole. Names are relative, joined by "/", of
// the characters a–z, 0–9, "." and "-". Each part begins with a letter or a digit. All methods are safe for concurrent
// use.
type Store interface {
	// Put writes data under name, atomically and durably, and replaces an existing file. The error wraps ErrFull if the
	// store is full. After an error the name holds its old content, or all of data if only the last sync failed. To be
	// sure, Put it again.
	Put(ctx context.Context, name string, data []byte) error

	// Create is a Put that never replaces a file. If several calls, on any machines, create the same name at once,
	// exactly one returns nil. The error wraps fs.ErrExist if the name exists; that file need not be durable yet (see
	// SyncDir). After any other error, or if an answer was lost, the name may still hold data. Read it back and
	// compare; that shows whose file it is only if no other process writes the same bytes. A store without hard links
	// may show a partial file until Create returns, and keep it after a crash.
	Create(ctx context.Context, name string, data []byte) error

	// Get returns n bytes of the named file at off, fewer only at the end of the file. It never allocates more than
	// that. The error wraps fs.ErrNotExist if the file is missing.
	Get(ctx context.Context, name string, off, n int64) ([]byte, error)

	// List yields every file below dir, a valid name or "" for all, in no order. It yields no folders, and nothing if
	// dir is missing. It yields a folder that no Put can have created once, as odd, and does not enter it. It does not
	// list files that a Put is still writing. An error ends the listing, which is then incomplete.
	List(ctx context.Context, dir string) iter.Seq2[Info, error]

	// Delete deletes the named file. The error wraps fs.ErrNotExist if it is missing.
	Delete(ctx context.Context, name string) error

	// Move renames a file durably, and replaces an existing file. If a Move and a Delete of the same file run at once,
	// one succeeds; the other's error wraps fs.ErrNotExist. That decides between two machines. After another error the
	// file has one of the two names.
	Move(ctx context.Context, from, to string) error

	// Touch sets the write time of the named file to now, by the store's own clock. It never creates a file: the error
	// wraps fs.ErrNotExist if the file is missing.
	Touch(ctx context.Context, name string) error

	// Close releases what the store holds open: files, connections. A decorator also closes the wrapped store. Close
	// comes after all other calls; a second Close returns nil. The function that opened the outermost store closes it.
	Close() error
}

// Info describes one file in a listing.
type Info struct {
	Name string // relative to the store's root, as in Get
	Size int64  // bytes
	Odd  bool   // no regular file (a link, a device), or an invalid name: never read it, only report it
	// ModTime is the write time by the clock of the store, which may differ from this machine's: compare it only with
	// other files' times. It is zero for an odd entry.
	ModTime time.Time
}

// ErrFull says that the store is full.
var ErrFull = errors.New("no space left in the repository's store")

// ErrBadName says that a name breaks the rules of Store.
var ErrBadName = errors.New("bad file name")
