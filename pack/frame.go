package pack

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"platter/chunk"
)

// A Sealer encrypts with one key for one purpose.
type Sealer interface {
	// SealInPlace encrypts buf[NonceSize:] in place, writes a fresh nonce before it, and returns buf with the tag
	// appended.
	SealInPlace(buf []byte) []byte
	// Open decrypts the result of SealInPlace in place.
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

// Bytes that sealing adds: to any plaintext, and to the chunks of a frame, whose plaintext begins with its encoding.
const (
	NonceSize = 24
	TagSize   = 16
	sealing   = NonceSize + TagSize
	overhead  = sealing + 1
)

// The first byte of a frame's plaintext says how the rest is encoded.
const (
	stored     = 0
	compressed = 1
	targets    = 2 // compressed, with the distances of x86 calls replaced by targets
)

// window lets the compressor refer to all of a usual frame.
const window = 2 << 20 // bytes

// An Open frame collects chunks, one after the other.
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
	zstd *zstd.Encoder // for the last compression used; each has tables of several MiB
	how  Compression
	keys Keys
	buf  []byte // of the last frame
}

// NewEncoder returns an Encoder that seals with keys.
func NewEncoder(keys Keys) *Encoder {
	return &Encoder{keys: keys}
}

// Encode returns the sealed frame as a pack stores it. The bytes are valid until the next call. Encode overwrites
// o.Raw.
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
		zstd.WithAllLitEntropyCompression(true),                 // random text has no repeats but still shrinks by a quarter
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false)) // the seal is the better checksum
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

// NewDecoder returns a Decoder that opens with keys and uses at most workers cores.
func NewDecoder(keys Keys, workers int) (*Decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderMaxWindow(MaxRaw),
		zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decompressor: %w", err)
	}
	return &Decoder{zstd: z, keys: keys}, nil
}

// Decode opens a frame and returns its chunks, one after the other. It uses dst's memory if that is large enough,
// overwrites sealed, and never allocates more than f.Raw bytes. The error wraps ErrDamaged or ErrNewer.
func (d *Decoder) Decode(dst, sealed []byte, f Frame) ([]byte, error) {
	encoding, payload, err := d.open(sealed, f)
	if err != nil {
		return nil, err
	}
	return d.unpack(dst, encoding, payload, f)
}

// open opens the seal of a frame. It returns how the frame's bytes are encoded, and what they are encoded to.
func (d *Decoder) open(sealed []byte, f Frame) (encoding byte, payload []byte, err error) {
	if f.Raw == 0 || f.Raw > MaxRaw || len(sealed) != int(f.Sealed) || len(sealed) <= overhead {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes for %d", ErrDamaged, len(sealed), f.Raw)
	}
	plain, err := d.keys.frame(f.Kind).Open(sealed)
	if err != nil {
		return 0, nil, fmt.Errorf("open frame: %w: %w", ErrDamaged, err)
	}
	return plain[0], plain[1:], nil
}

// unpack returns all of a frame's bytes.
func (d *Decoder) unpack(dst []byte, encoding byte, payload []byte, f Frame) (_ []byte, err error) {
	dst = room(dst, int(f.Raw))
	switch encoding {
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
		return nil, fmt.Errorf("%w: frame holds %d bytes, want %d", ErrDamaged, len(dst), f.Raw)
	}
	return dst, nil
}

// room returns an empty slice with room for n bytes and no more, in dst's memory if that is large enough.
func room(dst []byte, n int) []byte {
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	return dst[:0:n]
}
