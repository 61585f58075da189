package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Create creates the named file; see Store. It makes the data durable under a temporary name and then links it to the
// final name. A link never replaces a file, so the file system decides which of several creators comes first.
//
// If the file system has no hard links (exFAT, many SMB shares), Create opens the final name exclusively and writes in
// place. That decides just as well. But readers can see a partial file, and a crash can leave one. Create removes a
// file that it could not finish.
func (l *Local) Create(ctx context.Context, name string, data []byte) error {
	err := checkName(name)
	if err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	err = untilClear(func() error { return l.create(ctx, name, data) })
	if isFull(err) {
		return fmt.Errorf("create %s: %w: %w", name, ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

func (l *Local) create(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temp, err := l.writeTemp(ctx, path.Dir(name), data)
	noLinks := false
	if err == nil {
		err = l.at(ctx).Link(temp, name)
		noLinks = cannotLink(err)
	}
	if err == nil {
		err = l.at(ctx).SyncFolder(path.Dir(name))
	}
	if temp != "" {
		// If the temporary name of a created file cannot be removed, Sweep removes it later.
		left := l.at(ctx).Remove(temp)
		if err != nil && left != nil && !errors.Is(left, fs.ErrNotExist) {
			err = fmt.Errorf("%w (and %s is left over: %v)", err, temp, left)
		}
	}
	if noLinks {
		return l.createInPlace(ctx, name, data)
	}
	return err
}

func (l *Local) createInPlace(ctx context.Context, name string, data []byte) error {
	f, err := l.at(ctx).Create(name)
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist // not errUnclear: there is no reason to start again
	}
	if err != nil {
		return err
	}
	err = fill(ctx, f, data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		return l.at(ctx).SyncFolder(path.Dir(name))
	}
	if left := l.at(ctx).Remove(name); left != nil && !errors.Is(left, fs.ErrNotExist) {
		return fmt.Errorf("%w (and a part of it is left over: %v)", err, left)
	}
	return err
}

// Link gives a file a second name. A network file system repeats a request whose answer was lost. The second answer may
// be an error, such as that the name exists. So after an error, Link compares the files under both names.
func (o osFiles) Link(from, to string) error {
	return o.within(func(root *os.Root) error {
		err := root.Link(from, to)
		if err != nil {
			mine, mineErr := root.Lstat(from)
			there, thereErr := root.Lstat(to)
			if mineErr == nil && thereErr == nil && os.SameFile(mine, there) {
				return nil
			}
		}
		return err
	})
}

func (m *Mem) Create(ctx context.Context, name string, data []byte) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	data = bytes.Clone(data)

	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.files[name]; there {
		return fmt.Errorf("create %s: %w", name, fs.ErrExist)
	}
	if err := m.set(name, data); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

func (c *Cached) Create(ctx context.Context, name string, data []byte) error {
	if err := c.Store.Create(ctx, name, data); err != nil {
		return err
	}
	if kept, id := c.find(name); kept != nil {
		keep(kept, id, data)
	}
	return nil
}

// Create creates nothing. It returns fs.ErrExist if the file exists.
func (d DryRun) Create(ctx context.Context, name string, _ []byte) error {
	switch _, err := d.Get(ctx, name, 0, 1); {
	case err == nil:
		return fmt.Errorf("create %s: %w", name, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}
