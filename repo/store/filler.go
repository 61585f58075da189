package store

import (
	"context"
	"fmt"
)

// A Filler is a Store that reads into the caller's memory. Reads of a whole disk use it: memory allocated for every
// read would have to be cleared and collected.
type Filler interface {
	// GetInto reads len(dst) bytes of the named file at off. It returns how many it read: fewer only at the end of the
	// file. The error wraps fs.ErrNotExist if the file is missing.
	GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error)
}

// GetInto returns n bytes of the named file as Get does. It uses dst's memory if s is a Filler and dst is large enough.
func GetInto(ctx context.Context, s Store, dst []byte, name string, off, n int64) ([]byte, error) {
	f, ok := As[Filler](s)
	if !ok || n < 0 || int64(cap(dst)) < n {
		return s.Get(ctx, name, off, n)
	}
	got, err := f.GetInto(ctx, dst[:n], name, off)
	if err != nil {
		return nil, err
	}
	return dst[:got], nil
}

var _ Filler = (*Local)(nil)

// GetInto reads into dst; see Filler.
func (l *Local) GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error) {
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("get %q: %w", name, err)
	}
	data, err := l.read(ctx, name, off, int64(len(dst)), dst)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", name, err)
	}
	return len(data), nil
}
