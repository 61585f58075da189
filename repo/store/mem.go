package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"time"
)

// Mem keeps a store in memory, for tests. Its zero value is empty. It keeps every promise of Store except durability.
type Mem struct {
	Limit int64            // total bytes of data before Put returns ErrFull; 0 for no limit; set before use
	Clock func() time.Time // the store's clock; nil means time.Now; set before use

	mu    sync.RWMutex
	files map[string]memFile
	used  int64 // bytes
}

var _ Store = (*Mem)(nil)

type memFile struct {
	data []byte
	time time.Time
}

func (m *Mem) now() time.Time {
	if m.Clock == nil {
		return time.Now()
	}
	return m.Clock()
}

// Close returns nil. The files stay.
func (m *Mem) Close() error { return nil }

func (m *Mem) Put(ctx context.Context, name string, data []byte) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	data = bytes.Clone(data)

	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.set(name, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// set stores data, which m owns from then on. mu must be held.
func (m *Mem) set(name string, data []byte) error {
	used := m.used - int64(len(m.files[name].data)) + int64(len(data))
	if m.Limit > 0 && used > m.Limit {
		return ErrFull
	}
	if m.files == nil {
		m.files = make(map[string]memFile)
	}
	m.files[name], m.used = memFile{data, m.now()}, used
	return nil
}

func (m *Mem) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	m.mu.RLock()
	f, ok := m.files[name]
	m.mu.RUnlock() // bytes are replaced, never changed, so they need no lock
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, fs.ErrNotExist)
	}
	length, err := span(int64(len(f.data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	got := make([]byte, length)
	copy(got, f.data[min(off, int64(len(f.data))):])
	return got, nil
}

func (m *Mem) List(ctx context.Context, dir string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkDir(dir); err != nil {
			yield(Info{}, fmt.Errorf("list %q: %w", dir, err))
			return
		}
		infos := m.below(dir)
		for ctx.Err() == nil {
			if len(infos) == 0 || !yield(infos[0], nil) { // without the lock: yield may call Put and Delete
				return
			}
			infos = infos[1:]
		}
		yield(Info{}, fmt.Errorf("list %q: %w", dir, ctx.Err()))
	}
}

func (m *Mem) below(dir string) []Info {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var infos []Info
	for name, f := range m.files {
		if dir == "" || strings.HasPrefix(name, dir+"/") {
			infos = append(infos, Info{Name: name, Size: int64(len(f.data)), ModTime: f.time})
		}
	}
	return infos
}

func (m *Mem) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("delete %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	if !ok {
		return fmt.Errorf("delete %s: %w", name, fs.ErrNotExist)
	}
	delete(m.files, name)
	m.used -= int64(len(f.data))
	return nil
}

func (m *Mem) Move(ctx context.Context, from, to string) error {
	if err := errors.Join(checkName(from), checkName(to)); err != nil {
		return fmt.Errorf("move %q to %q: %w", from, to, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("move %s: %w", from, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[from]
	if !ok {
		return fmt.Errorf("move %s: %w", from, fs.ErrNotExist)
	}
	if from != to {
		m.used -= int64(len(m.files[to].data))
		delete(m.files, from)
		m.files[to] = f
	}
	return nil
}

func (m *Mem) Touch(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("touch %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("touch %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	if !ok {
		return fmt.Errorf("touch %s: %w", name, fs.ErrNotExist)
	}
	f.time = m.now()
	m.files[name] = f
	return nil
}
