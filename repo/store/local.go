package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
)

const (
	pieceSize  = 4 << 20 // bytes between two looks at ctx
	tempPrefix = ".tmp-" // no name may begin with a dot, so a temporary file never takes a name
)

// Local keeps a store in a folder of this machine or of a mounted NAS.
//
// A Put that returned nil survives a power cut of a disk that honours fsync: the data is written to a temporary file
// beside its name, synced, renamed over the name, and then the folder is synced, as is every folder above it that had to
// be made. A Put that failed before the rename has left the old file and, unless even removing it failed, no temporary
// one. A Put that failed after the rename (the folder would not sync) has left the whole new file, which a power cut may
// take back. A process that was killed leaves its temporary file: Leftovers names those.
//
// Local never follows a symbolic link below its root out of it, and reads no file that is one.
type Local struct {
	fs          FileSystem
	retryPolicy retryPolicy
	unsynced    notice // of a sync that the file system does not have

	// made holds the folders that are there and whose entry in the folder above is synced.
	made sync.Map // string to struct{}
}

var _ Store = (*Local)(nil)

// OpenLocal returns the store in the folder root. It does not look whether the folder exists: the first Put makes it. own
// is nil where all that is in the folder is the store's. Else others may have files and folders there as well: the store
// lists the uppermost of those as odd, and enters, reads and removes none. The error says that root can be no folder's path.
func OpenLocal(root string, own Layout) (*Local, error) {
	if root == "" || strings.ContainsRune(root, 0) {
		return nil, fmt.Errorf("open store: %q is not the path of a folder", root)
	}
	return NewLocalOn(osFiles{root, own}), nil
}

// Close returns nil: a Local opens its folder anew for every call, and holds nothing open.
func (l *Local) Close() error { return nil }

// A Layout tells what a store's user may have put into it from what others keep in the same folder.
type Layout interface {
	// Folder reports whether a folder is the store's, even if another program may have made it.
	Folder(name string) bool
	// File reports whether a file in the root or in such a folder can be the store's, by its name.
	File(name string) bool
}

// NewLocalOn returns the store on another file system than the real one, for tests.
func NewLocalOn(fs FileSystem) *Local { return &Local{fs: fs, retryPolicy: defaultRetryPolicy()} }

// at returns the file system as one call with a context uses it.
func (l *Local) at(ctx context.Context) FileSystem {
	return retrying{FileSystem: l.fs, ctx: ctx, retryPolicy: l.retryPolicy, unsynced: l.lacksSync}
}

func (l *Local) Put(ctx context.Context, name string, data []byte) error {
	err := checkName(name)
	if err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	err = l.put(ctx, name, data)
	if isFull(err) {
		return fmt.Errorf("put %s: %w: %w", name, ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (l *Local) put(ctx context.Context, name string, data []byte) error {
	return untilClear(func() error { return l.putOnce(ctx, name, data) })
}

func (l *Local) putOnce(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temp, err := l.writeTemp(ctx, path.Dir(name), data)
	if err == nil {
		err = l.at(ctx).Rename(temp, name)
	}
	if err == nil {
		return l.at(ctx).SyncFolder(path.Dir(name))
	}
	if temp == "" {
		return err
	}
	if left := l.at(ctx).Remove(temp); left != nil && !errors.Is(left, fs.ErrNotExist) {
		return fmt.Errorf("%w (and %s is left over: %v)", err, temp, left)
	}
	return err
}

// writeTemp makes a file in folder that holds data durably, under a name that the next crash may leave behind. It
// returns that name, even beside an error, once the file has been made.
func (l *Local) writeTemp(ctx context.Context, folder string, data []byte) (string, error) {
	var random [16]byte
	rand.Read(random[:]) // never fails: it ends the process first
	temp := path.Join(folder, tempPrefix+hex.EncodeToString(random[:]))

	if err := l.makeFolder(ctx, folder); err != nil {
		return "", err
	}
	f, err := l.at(ctx).Create(temp)
	if errors.Is(err, fs.ErrNotExist) { // another process removed a folder that we had made
		l.made.Clear()
		if err := l.makeFolder(ctx, folder); err != nil {
			return "", err
		}
		f, err = l.at(ctx).Create(temp)
	}
	if errors.Is(err, errUnclear) {
		return temp, err
	}
	if err != nil {
		return "", err
	}
	err = fill(ctx, f, data)
	if closed := f.Close(); err == nil {
		err = closed // NFS may report only here that there was no room
	}
	return temp, err
}

// fill writes and syncs. A sync that failed must not be tried again: the kernel has dropped the pages it could not write
// and the second answer would be a false "all is well".
func fill(ctx context.Context, f File, data []byte) error {
	for len(data) > 0 {
		piece := data[:min(len(data), pieceSize)]
		if _, err := f.Write(piece); err != nil {
			return err
		}
		data = data[len(piece):]
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return f.Sync()
}

// makeFolder makes a folder and those above it, each durable in the one above. A folder that was already there is
// synced too, once: another process may have made it a moment ago without having synced it yet.
func (l *Local) makeFolder(ctx context.Context, dir string) error {
	if _, ok := l.made.Load(dir); ok {
		return nil
	}
	above := path.Dir(dir)
	if dir != "." {
		if err := l.makeFolder(ctx, above); err != nil {
			return err
		}
	}
	if err := l.at(ctx).Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if dir != "." { // mkdir of the root syncs what it made
		if err := l.at(ctx).SyncFolder(above); err != nil {
			return err
		}
	}
	l.made.Store(dir, struct{}{})
	return nil
}

func (l *Local) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	data, err := l.read(ctx, name, off, n, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

// read returns n bytes from off on, fewer where the file ends, in dst's memory where they fit.
func (l *Local) read(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, size, err := l.at(ctx).Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	length, err := span(size, off, n)
	if err != nil {
		return nil, err
	}
	data := dst
	if len(data) < length {
		data = make([]byte, length)
	}
	data = data[:length]
	for done := 0; done < length; {
		piece := data[done:min(length, done+pieceSize)]
		got, err := f.ReadAt(piece, off+int64(done))
		done += got
		if errors.Is(err, io.EOF) {
			return data[:done], nil // it was cut short since we asked for its size
		}
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (l *Local) Move(ctx context.Context, from, to string) error {
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return fmt.Errorf("move %q to %q: %w", from, to, err)
	}
	if err := l.move(ctx, from, to); err != nil {
		return fmt.Errorf("move %s to %s: %w", from, to, err)
	}
	return nil
}

// move syncs the new folder first: a power cut between the two may leave a file with two names, and never with none.
func (l *Local) move(ctx context.Context, from, to string) error {
	err := ctx.Err()
	if err == nil {
		err = l.makeFolder(ctx, path.Dir(to))
	}
	if err == nil {
		err = l.at(ctx).Rename(from, to)
	}
	if err == nil {
		err = l.at(ctx).SyncFolder(path.Dir(to))
	}
	if err == nil && path.Dir(from) != path.Dir(to) {
		err = l.at(ctx).SyncFolder(path.Dir(from))
	}
	return err
}

func (l *Local) Touch(ctx context.Context, name string) error {
	err := checkName(name)
	if err != nil {
		return fmt.Errorf("touch %q: %w", name, err)
	}
	if err = ctx.Err(); err == nil {
		err = l.at(ctx).Touch(name)
	}
	if err != nil {
		return fmt.Errorf("touch %s: %w", name, err)
	}
	return nil
}

func (l *Local) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("delete %q: %w", name, err)
	}
	err := ctx.Err()
	if err == nil {
		err = l.at(ctx).Remove(name)
	}
	if err == nil {
		err = l.at(ctx).SyncFolder(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
