package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"platter/pack"
	"platter/repo/store"
)

// Where files lie in a store. All but the config and parity are named by the plain BLAKE3-256 of their bytes, in lower-case hex.
//
//	config
//	config.copy         what the config says, since it was changed for the first time
//	keys/0123…          password slots
//	keys/0123….removing-4567…  a slot that somebody is removing
//	packs/01/0123…      in folders by their first two digits: a repository has many
//	packs/01/0123….par  what mends the pack beside it; not named by its bytes
//	index/0123…
//	snapshots/0123…
//	work/0123…          leases and plans, which come and go
//	pending/0123…       snapshots about to be, by the name of their backup's lease
//	forgotten/0123…     which snapshots were removed on purpose
//	aside/0123…         snapshots that were removed as damaged, until a check has vouched for the others
const (
	configName   = "config"
	configCopy   = "config.copy"
	keysDir      = "keys"
	packsDir     = "packs"
	indexDir     = "index"
	snapshotsDir = "snapshots"
	workDir      = "work"
	pendingDir   = "pending"
	forgottenDir = "forgotten"
	asideDir     = "aside"
)

// Layout is what a repository may have made in its store, for a store that others have files in as well.
type Layout struct{}

// Folder reports whether a folder is one of the repository's.
func (Layout) Folder(name string) bool {
	switch dir, below, deep := strings.Cut(name, "/"); dir {
	case keysDir, indexDir, snapshotsDir, workDir, pendingDir, forgottenDir, asideDir:
		return !deep
	case packsDir:
		return !deep || len(below) == 2 && isHex(below)
	}
	return false
}

// File reports whether a file in the root or in one of those folders can be one of the repository's, by its name.
func (Layout) File(name string) bool {
	if name == configName || name == configCopy {
		return true
	}
	part := name[strings.LastIndexByte(name, '/')+1:]
	return len(part) < len(name) && len(part) >= idDigits && isHex(part[:idDigits])
}

const idDigits = 2 * len(pack.FileID{})

// isHex reports whether a text is hex digits as the repository writes them.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Bounds of whole files, in bytes, checked before they are read into memory.
const (
	maxConfig   = 64 << 10
	maxSlot     = 128 << 10
	maxSnapshot = 16 << 20
	maxPlan     = 16 << 20
	maxRecord   = 16 << 20
)

func packName(id pack.FileID) string {
	s := id.String()
	return packsDir + "/" + s[:2] + "/" + s
}

// parityName is the file beside a pack by which some of its sectors can be mended.
func parityName(id pack.FileID) string { return packName(id) + parityEnd }

func fileName(dir string, id pack.FileID) string { return dir + "/" + id.String() }

// dirOf returns the first folder of a name.
func dirOf(name string) string {
	dir, _, _ := strings.Cut(name, "/")
	return dir
}

// idFromName returns the id in a file's name, and false when the file has no business being where it is.
func idFromName(dir string, f store.Info) (pack.FileID, bool) {
	if f.Odd {
		return pack.FileID{}, false
	}
	id, err := pack.ParseFileID(f.Name[strings.LastIndexByte(f.Name, '/')+1:])
	if err != nil {
		return pack.FileID{}, false
	}
	want := fileName(dir, id)
	if dir == packsDir {
		want = packName(id)
	}
	return id, f.Name == want
}

// A listed file is one of the repository's own.
type listed struct {
	id   pack.FileID
	size int64
	time time.Time // by the store's clock
}

// list returns the repository's files in dir; what does not belong there is left out.
func list(ctx context.Context, s store.Store, dir string) ([]listed, error) {
	var files []listed
	for f, err := range s.List(ctx, dir) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		if id, ok := idFromName(dir, f); ok {
			files = append(files, listed{id, f.Size, f.ModTime})
		}
	}
	return files, nil
}

// listNow is list for whoever deletes, or builds upon, what it does not show: it shows what is there now, or as good as now
// where the store cannot tell; see Repo.storeLag.
func listNow(ctx context.Context, s store.Store, dir string) ([]listed, error) {
	if err := store.Refresh(ctx, s, dir); err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return list(ctx, s, dir)
}

// lister is listNow for a Repo that is at work under a lease, and list for one that only reads.
func (r *Repo) lister() func(context.Context, store.Store, string) ([]listed, error) {
	if r.holdsLease() {
		return listNow
	}
	return list
}

// readWhole returns a file of at most limit bytes.
func readWhole(ctx context.Context, s store.Store, name string, limit int64) ([]byte, error) {
	data, err := s.Get(ctx, name, 0, limit+1)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: longer than the %d bytes such a file may have", name, pack.ErrDamaged, limit)
	}
	return data, nil
}

// readNamed returns what follows the header of a file that is named by its bytes.
func readNamed(ctx context.Context, s store.Store, dir string, id pack.FileID, kind pack.FileKind, limit int64) ([]byte, error) {
	return readAs(ctx, s, fileName(dir, id), id, kind, limit)
}

// readAs is readNamed for a file that has another name than its bytes give it.
func readAs(ctx context.Context, s store.Store, name string, id pack.FileID, kind pack.FileKind, limit int64) ([]byte, error) {
	data, err := readWhole(ctx, s, name, limit)
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

// putNamed stores header and body under the name that follows from them.
func putNamed(ctx context.Context, s store.Store, dir string, kind pack.FileKind, body []byte) (pack.FileID, int64, error) {
	file := append(pack.Header(kind), body...)
	id := pack.Sum(file)
	if err := s.Put(ctx, fileName(dir, id), file); err != nil {
		return pack.FileID{}, 0, err
	}
	return id, int64(len(file)), nil
}

// gone reports whether an error says that a file is not there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
