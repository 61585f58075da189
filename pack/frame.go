package pack

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"platter/chunk"
)

// A Sealer encrypts under one key for one purpose.
type Sealer interface {
	// SealInPlace encrypts buf[NonceSize:] where it lies, puts a fresh nonce before it and returns buf with the tag.
	SealInPlace(buf []byte) []byte
	// Open decrypts what SealInPlace returned, where it lies.
	Open(sealed []byte) ([]byte, error)
}

// Keys are the sealers of a pack's parts.
type Keys struct{ Data, Map, Table, Tail Sealer }

func (k Keys) frame(kind chunk.Kind) Sealer {
	if kind == chunk.Map {
		return k.Map
	}
	return k.Data
}

// What sealing adds, in bytes: to plaintext, and to the chunks of a frame, which have their encoding before them.
const (
	NonceSize = 24
	TagSize   = 16
	sealing   = NonceSize + TagSize
	overhead  = sealing + 1
)

// The first byte of a frame's plaintext: how the rest of it is encoded.
const (
	stored     = 0
	compressed = 1
	targets    = 2 // compressed, with the targets of x86 calls in the place of their distances
)

// window lets the compressor look back over a whole frame of the usual size.
const window = 2 << 20 // bytes

// An Open frame is being filled: chunks one behind the other.
type Open struct {
	Kind   chunk.Kind
	Raw    []byte
	Chunks []Ref
}

// Add appends a chunk.
func (o *Open) Add(id chunk.ID, data []byte) {
	o.Raw = append(o.Raw, data...)
	o.Chunks = append(o.Chunks, Ref{id, uint32(len(data))})
}

// Reset empties the frame and keeps its memory.
func (o *Open) Reset() { o.Raw, o.Chunks = o.Raw[:0], o.Chunks[:0] }

// An Encoder compresses and seals frames. It is not safe for concurrent use.
type Encoder struct {
	zstd *zstd.Encoder // for the compression chosen last: each has tables of some MiB
	how  Compression
	keys Keys
	buf  []byte // of the last frame
}

// NewEncoder returns an Encoder that seals with keys.
func NewEncoder(keys Keys) *Encoder {
	return &Encoder{keys: keys}
}

// Encode returns the frame as it lies in a pack. The bytes hold until the next call. It overwrites o.Raw.
func (e *Encoder) Encode(o *Open, c Compression) ([]byte, error) {
	e.buf = append(e.buf[:0], make([]byte, NonceSize)...)
	if err := e.encode(o, c); err != nil {
		return nil, err
	}
	e.buf = e.keys.frame(o.Kind).SealInPlace(e.buf)
	return e.buf, nil
}

// encode appends the frame's plaintext.
func (e *Encoder) encode(o *Open, c Compression) error {
	if c == CompressOff {
		e.buf = append(append(e.buf, stored), o.Raw...)
		return nil
	}
	z, err := e.compressor(c)
	if err != nil {
		return err
	}
	encoding := byte(compressed)
	if o.Kind == chunk.Data && toTargets(o.Raw) > 0 {
		encoding = targets
	}
	e.buf = z.EncodeAll(o.Raw, append(e.buf, encoding))
	if len(e.buf) >= NonceSize+1+len(o.Raw) {
		if encoding == targets {
			toDistances(o.Raw)
		}
		e.buf = append(append(e.buf[:NonceSize], stored), o.Raw...)
	}
	return nil
}

func (e *Encoder) compressor(c Compression) (*zstd.Encoder, error) {
	if e.zstd != nil && e.how == c {
		return e.zstd, nil
	}
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(c.level()), zstd.WithEncoderConcurrency(1),
		zstd.WithAllLitEntropyCompression(true),                 // random text repeats nothing and still shrinks by a quarter
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false)) // the seal is a better checksum
	if err != nil {
		return nil, fmt.Errorf("make compressor: %w", err)
	}
	e.zstd, e.how = z, c
	return z, nil
}

// A Decoder opens frames. It is safe for concurrent use.
type Decoder struct {
	zstd *zstd.Decoder
	keys Keys
}

// NewDecoder returns a Decoder that opens with keys, on as many cores as workers.
func NewDecoder(keys Keys, workers int) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderMaxWindow(MaxRaw),
		zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	return &Decoder{zstd: z, keys: keys}, nil
}

// Decode opens a frame and returns its chunks, one behind the other, in dst's memory where it is large enough. It
// overwrites sealed. It never allocates more than the frame's Raw. The error wraps ErrDamaged.
func (d *Decoder) Decode(dst, sealed []byte, f Frame) ([]byte, error) {
	if f.Raw == 0 || f.Raw > MaxRaw || len(sealed) != int(f.Sealed) || len(sealed) <= overhead {
		return nil, fmt.Errorf("%w: frame of %d bytes for %d", ErrDamaged, len(sealed), f.Raw)
	}
	plain, err := d.keys.frame(f.Kind).Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("open frame: %w: %w", ErrDamaged, err)
	}
	if cap(dst) < int(f.Raw) {
		dst = make([]byte, f.Raw)
	}
	dst = dst[:0:f.Raw]
	switch encoding, payload := plain[0], plain[1:]; encoding {
	case stored:
		if len(payload) <= int(f.Raw) {
			dst = append(dst, payload...)
		}
	case compressed, targets:
		if dst, err = d.zstd.DecodeAll(payload, dst); err != nil {
			return nil, fmt.Errorf("unpack frame: %w: %w", ErrDamaged, err)
		}
		if encoding == targets {
			toDistances(dst)
		}
	default:
		return nil, fmt.Errorf("%w (frame encoding %d)", ErrNewer, encoding)
	}
	if len(dst) != int(f.Raw) {
		return nil, fmt.Errorf("%w: frame holds %d bytes where %d belong", ErrDamaged, len(dst), f.Raw)
	}
	return dst, nil
}
