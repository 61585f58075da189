package layout

import (
	"context"
	"fmt"

	"github.com/zeebo/blake3"

	"platter/pack"
	"platter/repo/store"
)

// verifyBlock is how many bytes Verify reads at a time. It is the same for every file, so that the reads reveal nothing
// about the contents.
const verifyBlock = 4 << 20

// Verify reads a file in blocks and compares the hash of its bytes with its ID. It calls read, if not nil, with the
// length of each block. The error comes from the store, or wraps pack.ErrDamaged, without the name, if the bytes do not
// match.
func Verify(ctx context.Context, s store.Store, name string, id pack.FileID, read func(n int64)) error {
	sum := blake3.New()
	var block []byte // reused from the second block on; most files have but one, which Get makes as long as the file
	for off := int64(0); ; off += verifyBlock {
		part, err := store.GetInto(ctx, s, block, name, off, verifyBlock)
		if err != nil {
			return err
		}
		sum.Write(part)
		if read != nil {
			read(int64(len(part)))
		}
		if len(part) < verifyBlock {
			break
		}
		if block == nil {
			block = make([]byte, verifyBlock)
		}
	}
	if pack.FileID(sum.Sum(nil)) != id {
		return fmt.Errorf("%w: its bytes do not match its name", pack.ErrDamaged)
	}
	return nil
}
