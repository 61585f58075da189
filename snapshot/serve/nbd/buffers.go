package nbd

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"

	"platter/snapshot/image/nbd/wire"
)

const (
	// headroom is what a buffer has before its data, for the header of a reply: header and data are then sent as one.
	headroom     = 64
	smallestBits = 12 // 4 KiB
	classes      = 14 // to 32 MiB
)

// buffers lends memory for data in flight, and bounds it.
type buffers struct {
	room  *semaphore.Weighted // bytes
	pools [classes]sync.Pool  // of *buffer; class i has data of 4 KiB << i
}

// A buffer has headroom bytes, and then data.
type buffer struct {
	mem   []byte
	class int
}

func newBuffers(memory int64) *buffers {
	return &buffers{room: semaphore.NewWeighted(memory)}
}

// classOf returns the class of buffers that have n bytes of data.
func classOf(n int) int { return max(bits.Len(uint(n-1)), smallestBits) - smallestBits }

// size is how many bytes a buffer of a class has.
func size(class int) int64 { return 1 << (smallestBits + class) }

// get waits for room and returns a buffer of n bytes, at most wire.MaxPayload. own is the room of the connection. The
// buffer is put back after use.
func (b *buffers) get(ctx context.Context, own *semaphore.Weighted, n int) (*buffer, error) {
	class := classOf(max(n, 1))
	if err := own.Acquire(ctx, size(class)); err != nil {
		return nil, err
	}
	if err := b.room.Acquire(ctx, size(class)); err != nil {
		own.Release(size(class))
		return nil, err
	}
	if kept, ok := b.pools[class].Get().(*buffer); ok {
		return kept, nil
	}
	return &buffer{make([]byte, headroom+size(class)), class}, nil
}

// put returns a buffer to its pool.
func (b *buffers) put(own *semaphore.Weighted, buf *buffer) {
	b.pools[buf.class].Put(buf)
	b.room.Release(size(buf.class))
	own.Release(size(buf.class))
}

// data returns the first n bytes of data.
func (b *buffer) data(n int) []byte { return b.mem[headroom : headroom+n] }

// framed returns a header of at most headroom bytes followed by the first n bytes of data, without copying these.
func (b *buffer) framed(header []byte, n int) []byte {
	start := headroom - len(header)
	copy(b.mem[start:], header)
	return b.mem[start : headroom+n]
}

// newRoom is the room of one connection: that of the largest request.
func newRoom() *semaphore.Weighted { return semaphore.NewWeighted(wire.MaxPayload) }
