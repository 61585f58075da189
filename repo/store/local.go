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
	pieceSize  = 4 << 20 // bytes between two checks of ctx
	tempPrefix = ".tmp-" // a valid name never begins with a dot, so a temporary file never takes one
)

// Local keeps a store in a folder of this machine or of a mounted NAS.
//
// After Put returns nil, the file survives a power cut if the disk honours fsync. Put writes the data to a temporary
// file in the same folder, syncs it, renames it over the name, and syncs the folder. It also syncs every folder above
// that it had to create. A Put that fails before the rename leaves the old file. It also leaves no temporary file,
// unless even its removal fails. A Put that fails after the rename (the folder did not sync) leaves the complete new
// file, which a power cut may undo. A killed process leaves its temporary file: Leftovers lists those.
//
// Local never follows a symbolic link out of its root, and never reads a file that is a symbolic link.
type Local struct {
	fs          FileSystem
	retryPolicy retryPolicy
	unsynced    notice // of a sync that the file system does not support

	// made holds the folders that exist and whose entry in the parent folder is synced.
	made sync.Map // string to struct{}
}

var _ Store = (*Local)(nil)

// OpenLocal returns the store in the folder root. It does not check whether the folder exists: the first Put creates
// it. own is nil if everything in the folder is the store's. Otherwise other programs may keep files and folders there
// too. The store lists the topmost of those as odd, and never enters, reads or removes them. The error says that root
// cannot be the path of a folder.
func OpenLocal(root string, own Layout) (*Local, error) {
	if root == "" || strings.ContainsRune(root, 0) {
		return nil, fmt.Errorf("open store: %q is not the path of a folder", root)
	}
	return NewLocalOn(osFiles{root, own}), nil
}

// Close returns nil: a Local opens its folder for every call, and holds nothing open.
func (l *Local) Close() error { return nil }

// A Layout distinguishes the store's files from foreign files in the same folder.
type Layout interface {
	// Folder reports whether a folder is the store's, even if another program may have created it.
	Folder(name string) bool
	// File reports whether a file in the root or in such a folder can be the store's, judging by its name.
	File(name string) bool
}

// NewLocalOn returns a store on another file system than the real one, for tests.
func NewLocalOn(fs FileSystem) *Local { return &Local{fs: fs, retryPolicy: defaultRetryPolicy()} }

// at returns the file system for one call with a context.
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

// writeTemp creates a temporary file in folder that holds data durably. Once the file exists, it returns the file's
// name, even with an error. A crash may leave the file behind.
func (l *Local) writeTemp(ctx context.Context, folder string, data []byte) (string, error) {
	var random [16]byte
	rand.Read(random[:]) // never fails: it ends the process first
	temp := path.Join(folder, tempPrefix+hex.EncodeToString(random[:]))

	if err := l.makeFolder(ctx, folder); err != nil {
		return "", err
	}
	f, err := l.at(ctx).Create(temp)
	if errors.Is(err, fs.ErrNotExist) { // another process removed a folder that we had created
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
		err = closed // NFS may report only here that the disk is full
	}
	return temp, err
}

// fill writes and syncs. A failed sync must not be retried. The kernel has dropped the pages that it could not write,
// so the second answer would be a false success.
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

// makeFolder creates a folder and those above it, each durable in its parent. It also syncs an existing folder once:
// another process may have just created it and not yet synced it.
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
	if dir != "." { // Mkdir of the root syncs what it created
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

// read returns n bytes at off, fewer at the end of the file. It uses dst's memory if they fit.
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
			return data[:done], nil // the file was cut short after the query of its size
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

// move syncs the new folder first: a power cut between the two syncs may leave a file with two names, but never without
// one.
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
