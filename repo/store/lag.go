package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// A Lag is how old what a listing shows may be: clients of network file systems remember folders for a while.
type Lag struct {
	Time time.Duration // 0 where a listing shows what is there
	// Unknown is the type of a file system for which it is not known how old a listing may be, nor whether Refresh helps; else "".
	Unknown string
}

// A Lagging store may be on a file system that caches listings.
type Lagging interface {
	// Lag is how old what this machine lists may be.
	Lag() Lag
}

// A Refresher is a store that can be made to list a folder as it is now.
type Refresher interface {
	// Refresh makes the next listing of dir show what is there. It is no error that there is no such folder.
	Refresh(ctx context.Context, dir string) error
}

// remoteLag covers how long clients of network file systems cache listings by default: NFS on Linux a minute, SMB half of that.
const remoteLag = time.Minute

var (
	_ Lagging   = (*Local)(nil)
	_ Refresher = (*Local)(nil)
)

// Lag asks the file system. It is a minute at least for folders that are not on a file system of this machine.
func (l *Local) Lag() Lag {
	if files, ok := l.fs.(osFiles); ok {
		return lagOf(files.root)
	}
	return Lag{}
}

// Refresh puts a file into the folder and removes it, where the file system may remember what was there before. NFS, SMB and
// sshfs forget what they remember of a folder that this machine changes.
func (l *Local) Refresh(ctx context.Context, dir string) error {
	if l.Lag() == (Lag{}) {
		return nil
	}
	err := checkName(dir)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = l.probe(ctx, dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("refresh %q: %w", dir, err)
	}
	return nil
}

func (l *Local) probe(ctx context.Context, dir string) error {
	var random [16]byte
	rand.Read(random[:]) // never fails: it ends the process first
	temp := path.Join(dir, tempPrefix+hex.EncodeToString(random[:]))
	f, err := l.at(ctx).Create(temp)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), l.at(ctx).Remove(temp))
}

// Refresh makes the next listing of dir current, if s is a Refresher.
func Refresh(ctx context.Context, s Store, dir string) error {
	if s, ok := As[Refresher](s); ok {
		return s.Refresh(ctx, dir)
	}
	return nil
}
