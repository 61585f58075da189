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

// A Lag is the maximum age of a listing: clients of network file systems cache folders for some time.
type Lag struct {
	Time time.Duration // 0 if listings are always current
	// Unknown is the type of a file system for which neither the age of listings nor the effect of Refresh is known;
	// else "".
	Unknown string
}

// A Lagging store may be on a file system that caches listings.
type Lagging interface {
	// Lag returns the maximum age of a listing on this machine.
	Lag() Lag
}

// A Refresher is a store that can make the listing of a folder current.
type Refresher interface {
	// Refresh makes the next listing of dir current. A missing dir is no error.
	Refresh(ctx context.Context, dir string) error
}

// remoteLag covers the default time for which clients of network file systems cache listings: a minute for NFS on
// Linux, half of that for SMB.
const remoteLag = time.Minute

var (
	_ Lagging   = (*Local)(nil)
	_ Refresher = (*Local)(nil)
)

// Lag asks the file system. On a remote file system it is at least a minute.
func (l *Local) Lag() Lag {
	if files, ok := l.fs.(osFiles); ok {
		return lagOf(files.root)
	}
	return Lag{}
}

// Refresh creates and removes a file in the folder, if the file system may cache listings. NFS, SMB and sshfs drop
// their cache of a folder that this machine changes.
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
