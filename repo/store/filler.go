package store

import (
	"context"
	"fmt"
)

// A Filler is a Store that reads into the caller's memory. Reading a whole disk uses it: memory that is allocated for every
// read must be cleared and collected.
type Filler interface {
	// GetInto reads len(dst) bytes of the named file from byte off on and returns how many it got: fewer only where the
	// file ends. The error wraps fs.ErrNotExist when there is no such file.
	GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error)
}

// GetInto returns n bytes of the named file as Get does, in dst's memory if s is a Filler and dst is large enough.
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
