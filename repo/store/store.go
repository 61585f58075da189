// Package store keeps immutable named files: on a folder of a NAS, or in memory.
//
// It promises that a Put, a Create or a Move that returned nil survives a power cut, that no reader sees half a file under its
// name, and that a Get never returns more than was asked for. It promises nothing about the content of the files: the owner
// of the store can change them, so every reader above this package verifies what it reads.
//
// Optional capabilities of a store are interfaces of their own (Filler, DirSyncer, Refresher, …). As finds them, also behind
// decorators.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// A Store is a place for files that are written once, read in pieces and deleted whole. Names are relative, joined by
// "/", of the characters a–z, 0–9, "." and "-"; each part begins with a letter or a digit. All methods are safe for
// concurrent use.
type Store interface {
	// Put writes data under name: atomically, durably, over whatever was there. It returns an error that wraps
	// ErrFull when there is no room. After an error the name holds what it held before, or all of data where only the
	// proof that it is durable failed; to be sure, Put it again.
	Put(ctx context.Context, name string, data []byte) error

	// Create is a Put that makes a file only where there is none of that name: of several at the same time, by any machines,
	// exactly one returns nil. The error wraps fs.ErrExist where the name is taken; the file there need not be durable yet
	// (see SyncDir). After any other error, and where an answer may have been lost, the name may hold data all the same: read
	// it back and compare, which shows whose it is only if no other process would write the same bytes. A store without hard
	// links may show a part of the file until Create returns, and keep that part after a crash.
	Create(ctx context.Context, name string, data []byte) error

	// Get returns n bytes of the named file from byte off on, fewer only where the file ends, and never allocates
	// more than that. The error wraps fs.ErrNotExist when there is no such file.
	Get(ctx context.Context, name string, off, n int64) ([]byte, error)

	// List yields everything below dir, a good name or "" for all, in no order, folders themselves left out; nothing
	// where dir does not exist. A folder no Put can have made is yielded once, as odd, and not entered. Files that a Put
	// is still writing are not listed. An error ends the listing: what came before it is not all there is.
	List(ctx context.Context, dir string) iter.Seq2[Info, error]

	// Delete removes the named file. The error wraps fs.ErrNotExist when there is none.
	Delete(ctx context.Context, name string) error

	// Move gives the file from the name to, durably; a file that has that name already is replaced. Of a Move and a Delete
	// of the same file at the same time one succeeds, and the other's error wraps fs.ErrNotExist: that decides between two
	// machines. After another error the file has either name.
	Move(ctx context.Context, from, to string) error

	// Touch makes now, by the store's own clock, the time at which the named file was written. It never makes a file: the
	// error wraps fs.ErrNotExist when there is none.
	Touch(ctx context.Context, name string) error

	// Close releases what the store holds open: files, connections. A decorator closes the store behind it. Close comes after
	// all other calls; a second Close returns nil. Whoever opened the outermost store closes it.
	Close() error
}

// Info describes one file in a listing.
type Info struct {
	Name string // below the store's root, as Get takes it
	Size int64  // bytes
	Odd  bool   // no regular file (a link, a device), or a name no Put can have made: never read it, only report it
	// ModTime is when the file was written, by the clock of the store, which need not be this machine's: compare it with
	// other files' only. Zero for one that is odd.
	ModTime time.Time
}

// ErrFull says that the store has no room for another byte.
var ErrFull = errors.New("no space left in the repository's store")

// ErrBadName says that a name breaks the rules of Store.
var ErrBadName = errors.New("bad file name")
