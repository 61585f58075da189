package fuse

import (
	"context"
	"strconv"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// root returns the root folder: all disks, or the files of one version.
func (t *tree) root() *folder {
	if v := t.opts.Version; v != nil {
		return t.version("", *v)
	}
	return t.folder("", t.since, t.opts.refresh, func(ctx context.Context) ([]*entry, error) {
		disks, err := t.catalog.Disks(ctx)
		if err != nil {
			return nil, err
		}
		list := make([]*entry, len(disks))
		for i, name := range SafeNames(disks) {
			key := strconv.Quote(disks[i])
			list[i] = &entry{name: name, key: key, kind: fuse.S_IFDIR, make: func() node { return t.disk(key, disks[i]) }}
		}
		return list, nil
	})
}

// disk returns the folder of a disk's versions.
func (t *tree) disk(key, name string) *folder {
	var disk *folder
	disk = t.folder(key, time.Time{}, t.opts.refresh, func(ctx context.Context) ([]*entry, error) {
		versions, err := t.catalog.Versions(ctx, name)
		if err != nil || len(versions) == 0 {
			return nil, err
		}
		list := make([]*entry, 0, len(versions)+1)
		for i, name := range versionNames(versions) {
			v, key := versions[i], key+strconv.Quote(versions[i].ID)
			list = append(list, &entry{name: name, key: key, kind: fuse.S_IFDIR, at: v.Time, make: func() node { return t.version(key, v) }})
		}
		return append(list, &entry{name: latest, key: key + "/" + latest, kind: fuse.S_IFLNK, make: func() node { return &link{disk: disk} }}), nil
	})
	return disk
}

// version returns the folder of a version's files, which never change.
func (t *tree) version(key string, v Version) *folder {
	version := t.folder(key, v.Time, lasting, func(ctx context.Context) ([]*entry, error) {
		files, err := t.catalog.Files(ctx, v)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.Name
		}
		list := make([]*entry, len(files))
		for i, name := range SafeNames(names) {
			of := files[i]
			list[i] = &entry{name: name, key: key + "/" + name, kind: fuse.S_IFREG, at: v.Time, make: func() node { return t.file(of, v.Time) }}
		}
		return list, nil
	})
	version.leaf = true
	return version
}
