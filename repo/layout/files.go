package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"platter/pack"
	"platter/repo/store"
)

// A File is one of the repository's own files, as a store lists it.
type File struct {
	ID   pack.FileID
	Size int64     // bytes
	Time time.Time // by the store's clock
}

// List returns the repository's files in dir and leaves out all other files. The error comes from the store and names
// dir.
func List(ctx context.Context, s store.Store, dir string) ([]File, error) {
	var files []File
	for f, err := range s.List(ctx, dir) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		if id, ok := ParseID(dir, f); ok {
			files = append(files, File{id, f.Size, f.ModTime})
		}
	}
	return files, nil
}

// ListNow is List for a process that deletes, or builds on, what the listing does not show. The listing is fresh, or as
// fresh as the store can make it; see store.Lag.
func ListNow(ctx context.Context, s store.Store, dir string) ([]File, error) {
	if err := store.Refresh(ctx, s, dir); err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return List(ctx, s, dir)
}

// IDs returns the IDs of files, in the same order.
func IDs(files []File) []pack.FileID {
	ids := make([]pack.FileID, len(files))
	for i, f := range files {
		ids[i] = f.ID
	}
	return ids
}

// Read returns a file of at most limit bytes. The error wraps pack.ErrDamaged if the file is longer.
func Read(ctx context.Context, s store.Store, name string, limit int64) ([]byte, error) {
	data, err := s.Get(ctx, name, 0, limit+1)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: longer than the %d bytes such a file may have", name, pack.ErrDamaged, limit)
	}
	return data, nil
}

// ReadNamed returns the body of a file of at most limit bytes, without its header. The error wraps pack.ErrDamaged if
// the bytes do not match the name.
func ReadNamed(ctx context.Context, s store.Store, dir string, id pack.FileID, kind pack.FileKind, limit int64) ([]byte, error) {
	return ReadAs(ctx, s, Name(dir, id), id, kind, limit)
}

// ReadAs is ReadNamed for a file whose name is not its file ID.
func ReadAs(ctx context.Context, s store.Store, name string, id pack.FileID, kind pack.FileKind, limit int64) ([]byte, error) {
	data, err := Read(ctx, s, name, limit)
	if err != nil {
		return nil, err
	}
	if pack.Sum(data) != id {
		return nil, fmt.Errorf("%s: %w: its bytes do not match its name", name, pack.ErrDamaged)
	}
	body, err := pack.ParseHeader(data, kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return body, nil
}

// PutNamed stores header and body under their file ID, and returns the length of the file in bytes.
func PutNamed(ctx context.Context, s store.Store, dir string, kind pack.FileKind, body []byte) (pack.FileID, int64, error) {
	file := append(pack.Header(kind), body...)
	id := pack.Sum(file)
	if err := s.Put(ctx, Name(dir, id), file); err != nil {
		return pack.FileID{}, 0, err
	}
	return id, int64(len(file)), nil
}

// IsMissing reports whether an error says that a file is missing.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// IsPermanent reports whether a failed read stays failed. Any other failure, such as a store that does not answer, may
// be temporary.
func IsPermanent(err error) bool {
	return errors.Is(err, pack.ErrDamaged) || errors.Is(err, pack.ErrNewer) || IsMissing(err)
}

// Padding is the unit of the length of sealed JSON, in bytes. It hides most of what a length would reveal.
const Padding = 512

// Pad fills JSON with spaces up to a multiple of Padding. JSON allows trailing spaces.
func Pad(json []byte) []byte {
	if n := len(json) % Padding; n > 0 {
		json = append(json, bytes.Repeat([]byte{' '}, Padding-n)...)
	}
	return json
}
