package pack

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"platter/chunk"
)

func TestFrameRoundTrip(t *testing.T) {
	e, d := newEncoder(t, realKeys), newDecoder(t, realKeys)
	var dst []byte
	for _, n := range []int{1, 2, 63, 4096, 65537, 1 << 20, 3<<20 + 7} {
		contents := map[string][]byte{"noise": noise(5, n), "text": text(n), "zeros": make([]byte, n), "code": code(6, n)}
		for name, content := range contents {
			for c := range Compression(len(compressions)) {
				for _, kind := range []chunk.Kind{chunk.Data, chunk.Map} {
					o := openFrame(kind, content[:(n+1)/2])
					if n > 1 {
						o.Add(chunk.ID{9}, content[(n+1)/2:])
					}
					what := fmt.Sprintf("%d bytes of %s, %v, %v", n, name, kind, c)
					sealed, err := e.Encode(o, c)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					wantPacked(t, what, sealed, n, c != CompressOff && (name == "text" || name == "zeros"))
					if bytes.Contains(sealed, content) && n > 60 {
						t.Errorf("%s: the sealed frame contains plaintext", what)
					}
					dst, err = d.Decode(dst, slices.Clone(sealed), o.frame(sealed))
					if err != nil || !bytes.Equal(dst, content) {
						t.Fatalf("%s: %v, or the bytes differ", what, err)
					}
				}
			}
		}
	}
}

// wantPacked checks the size of a sealed frame of n plaintext bytes.
func wantPacked(t *testing.T, what string, sealed []byte, n int, compressible bool) {
	t.Helper()
	if len(sealed) > n+overhead {
		t.Errorf("%s: sealed into %d bytes", what, len(sealed))
	}
	if compressible && n >= 4096 && len(sealed) > n/8 {
		t.Errorf("%s: not compressed: %d bytes", what, len(sealed))
	}
}

// TestFrameEncodings checks which encoding is used when, and that higher levels compress better.
func TestFrameEncodings(t *testing.T) {
	e, last := newEncoder(t, nullKeys), 0
	for c, want := range map[Compression][3]byte{ // of text, code, noise
		CompressAuto: {compressed, targets, stored}, CompressOff: {stored, stored, stored}, CompressFastest: {compressed, targets, stored},
		CompressDefault: {compressed, targets, stored}, CompressBetter: {compressed, targets, stored},
	} {
		for i, content := range [][]byte{text(50000), code(7, 50000), noise(8, 50000)} {
			sealed, err := e.Encode(openFrame(chunk.Data, content), c)
			if got := sealed[NonceSize]; err != nil || got != want[i] {
				t.Errorf("%v: content %d has encoding %d, %v; want %d", c, i, got, err, want[i])
			}
		}
	}
	sealed, err := e.Encode(openFrame(chunk.Map, code(7, 50000)), CompressDefault)
	if got := sealed[NonceSize]; err != nil || got != compressed {
		t.Errorf("a frame of maps has encoding %d, %v", got, err)
	}
	for _, c := range []Compression{CompressBetter, CompressDefault, CompressFastest, CompressOff} {
		sealed, err := e.Encode(openFrame(chunk.Data, code(9, 1<<20)), c)
		if err != nil || len(sealed) < last {
			t.Errorf("%v: %d bytes, %v; a higher level made %d", c, len(sealed), err, last)
		}
		last = len(sealed)
	}
}

// TestRandomText checks that text without repeats shrinks as far as its alphabet allows. Examples are tokens and keys
// in logs and databases, and mail.
func TestRandomText(t *testing.T) {
	e, random := newEncoder(t, nullKeys), noise(11, 1<<20)
	for name, tt := range map[string]struct {
		content []byte
		percent int // maximum compressed length
	}{
		"base64": {[]byte(base64.StdEncoding.EncodeToString(random)), 76},
		"hex":    {[]byte(hex.EncodeToString(random)), 53},
	} {
		for _, c := range []Compression{CompressFastest, CompressDefault, CompressBetter} {
			sealed, err := e.Encode(openFrame(chunk.Data, tt.content), c)
			if err != nil || len(sealed) > len(tt.content)*tt.percent/100 {
				t.Errorf("%s, %v: %d bytes compress to %d, %v; want at most %d%%", name, c, len(tt.content), len(sealed), err, tt.percent)
			}
		}
	}
}

func TestFrameOfNothing(t *testing.T) {
	o := openFrame(chunk.Data)
	sealed := encode(t, newEncoder(t, realKeys), o)
	got, err := newDecoder(t, realKeys).Decode(nil, slices.Clone(sealed), o.frame(sealed))
	if err == nil && len(got) > 0 {
		t.Fatalf("a frame of nothing opens to %d bytes", len(got))
	}
}

// TestFrameDamage flips each bit of a small frame and some of a large one, and truncates both: none may open.
func TestFrameDamage(t *testing.T) {
	e, d := newEncoder(t, realKeys), newDecoder(t, realKeys)
	for _, o := range []*Open{openFrame(chunk.Data, text(300)), openFrame(chunk.Map, noise(6, 40)), openFrame(chunk.Data, noise(7, 30000))} {
		sealed := slices.Clone(encode(t, e, o))
		f := o.frame(sealed)
		step := 1
		if len(sealed) > 1000 {
			step = 997 // a prime: reaches every bit of a byte
		}
		for bit := 0; bit < 8*len(sealed); bit += step {
			bad := slices.Clone(sealed)
			bad[bit/8] ^= 1 << (bit % 8)
			_, err := d.Decode(nil, bad, f)
			wantDamaged(t, fmt.Sprintf("bit %d of %d bytes", bit, len(sealed)), err)
		}
		for _, n := range []int{0, 1, NonceSize, sealing, overhead, len(sealed) / 2, len(sealed) - 1} {
			_, err := d.Decode(nil, slices.Clone(sealed[:n]), f)
			wantDamaged(t, fmt.Sprintf("cut to %d of %d bytes", n, len(sealed)), err)
			short := f
			short.Sealed = uint32(n)
			_, err = d.Decode(nil, slices.Clone(sealed[:n]), short)
			wantDamaged(t, fmt.Sprintf("cut to %d of %d bytes, as the table says", n, len(sealed)), err)
		}
		longer := f
		longer.Sealed++
		_, err := d.Decode(nil, append(slices.Clone(sealed), 0), longer)
		wantDamaged(t, "a byte after the tag", err)
	}
}

func TestFrameOfOtherKind(t *testing.T) {
	e, d := newEncoder(t, realKeys), newDecoder(t, realKeys)
	for _, kinds := range [][2]chunk.Kind{{chunk.Data, chunk.Map}, {chunk.Map, chunk.Data}} {
		o := openFrame(kinds[0], text(500))
		sealed := encode(t, e, o)
		f := o.frame(sealed)
		f.Kind = kinds[1]
		_, err := d.Decode(nil, slices.Clone(sealed), f)
		wantDamaged(t, fmt.Sprintf("%v opened as %v", kinds[0], kinds[1]), err)
	}
}

// TestFrameClaims changes the table's entry of an intact frame.
func TestFrameClaims(t *testing.T) {
	d := newDecoder(t, nullKeys)
	for _, content := range [][]byte{text(5000), noise(8, 5000)} {
		o := openFrame(chunk.Data, content)
		sealed := slices.Clone(encode(t, newEncoder(t, nullKeys), o))
		for _, raw := range []uint32{1, 4999, 5001, MaxRaw, MaxRaw + 1, 1<<32 - 1} {
			f := o.frame(sealed)
			f.Raw = raw
			_, err := d.Decode(nil, slices.Clone(sealed), f)
			wantDamaged(t, fmt.Sprintf("5000 bytes claimed to be %d", raw), err)
		}
	}
	unknown := append(append(make([]byte, NonceSize), 3, 'x'), make([]byte, TagSize)...)
	_, err := d.Decode(nil, unknown, Frame{chunk.Data, uint32(len(unknown)), 1, 1})
	if !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
		t.Errorf("unknown encoding: %v, want ErrNewer", err)
	}
}

// bomb is a frame that decompresses to n zeros. If streamed, its zstd header does not say how many.
func bomb(t *testing.T, n int, streamed bool) []byte {
	t.Helper()
	var payload bytes.Buffer
	z, err := zstd.NewWriter(&payload, zstd.WithWindowSize(window))
	if err != nil {
		t.Fatal(err)
	}
	if streamed {
		_, err = z.Write(make([]byte, n))
		err = errors.Join(err, z.Close())
	} else {
		payload.Write(z.EncodeAll(make([]byte, n), nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	return nullSealer{}.SealInPlace(append(append(make([]byte, NonceSize), compressed), payload.Bytes()...))
}

func TestFrameBomb(t *testing.T) {
	d := newDecoder(t, nullKeys)
	const size, claim, slack = 64 << 20, 64 << 10, 1 << 20
	for _, streamed := range []bool{false, true} {
		sealed := bomb(t, size, streamed)
		f := Frame{chunk.Data, uint32(len(sealed)), claim, 1}
		decode := func() { // the first call may initialise the decompressor
			_, err := d.Decode(nil, slices.Clone(sealed), f)
			wantDamaged(t, fmt.Sprintf("bomb, streamed: %v", streamed), err)
		}
		decode()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decode()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > claim+slack {
			t.Errorf("a frame of %d bytes that claims %d costs %d bytes of memory (streamed: %v)", size, claim, got, streamed)
		}
	}
}

func FuzzDecode(f *testing.F) {
	e, d := newEncoder(f, nullKeys), newDecoder(f, nullKeys)
	for _, content := range [][]byte{text(200), noise(9, 30), make([]byte, 5000), code(3, 3000)} {
		f.Add(slices.Clone(encode(f, e, openFrame(chunk.Data, content)))[NonceSize:], uint32(len(content)))
	}
	f.Add([]byte{3}, uint32(1))
	f.Fuzz(func(t *testing.T, plain []byte, raw uint32) {
		raw = raw%(1<<20) + 1
		sealed := nullSealer{}.SealInPlace(append(make([]byte, NonceSize), plain...))
		got, err := d.Decode(nil, sealed, Frame{chunk.Data, uint32(len(sealed)), raw, 1})
		if err == nil && len(got) != int(raw) {
			t.Fatalf("a frame of %d bytes opens to %d", raw, len(got))
		}
		if err != nil && errors.Is(err, ErrDamaged) == errors.Is(err, ErrNewer) {
			t.Fatalf("%v is neither damaged nor newer, or both", err)
		}
	})
}
