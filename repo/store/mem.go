package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
)

// Mem keeps a store in memory, for tests. Its zero value is an empty one. It keeps every promise of Store but the power
// cut's.
type Mem struct {
	Limit int64 // bytes of data in all, beyond which a Put says ErrFull; 0 for none; set before use

	mu    sync.RWMutex
	files map[string][]byte
	used  int64 // bytes
}

var _ Store = (*Mem)(nil)

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
	used := m.used - int64(len(m.files[name])) + int64(len(data))
	if m.Limit > 0 && used > m.Limit {
		return fmt.Errorf("put %s: %w", name, ErrFull)
	}
	if m.files == nil {
		m.files = make(map[string][]byte)
	}
	m.files[name], m.used = data, used
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
	data, ok := m.files[name]
	m.mu.RUnlock() // a file is replaced, never changed, so data stands without the lock
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, fs.ErrNotExist)
	}
	length, err := span(int64(len(data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	got := make([]byte, length)
	copy(got, data[min(off, int64(len(data))):])
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
			if len(infos) == 0 || !yield(infos[0], nil) { // without the lock: yield may put and delete
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
	for name, data := range m.files {
		if dir == "" || strings.HasPrefix(name, dir+"/") {
			infos = append(infos, Info{Name: name, Size: int64(len(data))})
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
	data, ok := m.files[name]
	if !ok {
		return fmt.Errorf("delete %s: %w", name, fs.ErrNotExist)
	}
	delete(m.files, name)
	m.used -= int64(len(data))
	return nil
}
