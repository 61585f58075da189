package pack

import "encoding/binary"

// To read one chunk of a frame, the frame is decompressed only as far as that chunk. Zstandard has no such call, but its
// format (RFC 8878) allows it: a frame is a header and blocks, and each block builds on those before it only.
//
//	 0       4     5                  6 to 18
//	+-------+-----+- - - - - - - - - +---------+- -+---------+- -+
//	| magic | FHD | window, size ... | block   |   | block   |   |
//	+-------+-----+- - - - - - - - - +---------+- -+---------+- -+
//
// A shortened frame has a header that names no size, and fewer blocks, the last of them marked as the last.

const (
	zstdMagic    = 0xFD2FB528
	zstdHeader   = 6         // bytes of the shortest header: magic, FHD, and a window or a size
	zstdBlock    = 3         // bytes of a block's header
	zstdBlockMax = 128 << 10 // bytes that a block holds at most
	zstdBlockMin = 16 << 10  // bytes that full blocks hold at least, with any encoder so far
	zstdWindow   = 13 << 3   // 8 MiB, as a header says it: no frame needs more
)

// DecodePrefix is Decode for callers that need only the first n bytes. It returns at least these, and the rest of the
// frame only if that costs little. PrefixRoom is the memory that it needs at most, unless it returns the whole frame.
func (d *Decoder) DecodePrefix(dst, sealed []byte, f Frame, n int) ([]byte, error) {
	if n > int(f.Raw)/4*3 {
		return d.Decode(dst, sealed, f)
	}
	encoding, payload, err := d.open(sealed, f)
	if err != nil {
		return nil, err
	}
	switch {
	case encoding == stored && len(payload) == int(f.Raw):
		return append(room(dst, n), payload[:n]...), nil
	case encoding == compressed || encoding == targets:
		s, ok := shorten(payload, int(f.Raw), n+x86Operand)
		if ok {
			got, err := d.zstd.DecodeAll(s.frame, room(dst, s.raw))
			if encoding == targets && err == nil {
				toDistances(got)
				got = got[:max(len(got)-x86Operand, 0)] // an operand may go on after the end
			}
			if err == nil && len(got) >= n && len(got) <= int(f.Raw) {
				return got, nil
			}
			s.undo()
		}
	}
	return d.unpack(dst, encoding, payload, f)
}

// PrefixRoom is how much memory DecodePrefix usually needs for n bytes.
func PrefixRoom(n int) int { return (n + x86Operand + zstdBlockMax - 1) / zstdBlockMax * zstdBlockMax }

// A shortened is a frame in the memory of a longer one.
type shortened struct {
	frame []byte
	raw   int              // bytes that it decompresses to
	head  [zstdHeader]byte // what its header overwrote
	last  *byte            // of the header of its last block
	was   byte
}

// undo restores the longer frame.
func (s *shortened) undo() {
	copy(s.frame, s.head[:])
	*s.last = s.was
}

// shorten shortens a frame of raw bytes to the blocks that hold its first n. It returns false if nothing would be left
// out, or if the blocks do not seem to be of one length.
func shorten(frame []byte, raw, n int) (s shortened, ok bool) {
	start := firstBlock(frame)
	if start < zstdHeader {
		return s, false
	}
	var blocks []int // where each begins
	for at, last := start, false; !last; {
		if at+zstdBlock > len(frame) {
			return s, false
		}
		header := int(frame[at]) | int(frame[at+1])<<8 | int(frame[at+2])<<16
		size := header >> 3
		if header>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		blocks = append(blocks, at)
		last, at = header&1 == 1, at+zstdBlock+size
	}
	// Encoders fill all blocks but the last. How much they hold is nowhere; it follows from their number.
	for length := zstdBlockMax; length >= zstdBlockMin; length /= 2 {
		if (raw+length-1)/length != len(blocks) {
			continue
		}
		count := (n + length - 1) / length
		if count >= len(blocks) || blocks[count] > len(frame) {
			return s, false
		}
		s.raw = count * length
		s.frame, s.last = frame[start-zstdHeader:blocks[count]], &frame[blocks[count-1]]
		s.was = *s.last
		copy(s.head[:], s.frame)
		binary.LittleEndian.PutUint32(s.frame, zstdMagic)
		s.frame[4], s.frame[5] = 0, zstdWindow
		*s.last |= 1
		return s, true
	}
	return s, false
}

// firstBlock returns where the first block of a frame begins; 0 if the frame cannot be shortened.
func firstBlock(frame []byte) int {
	if len(frame) < zstdHeader || binary.LittleEndian.Uint32(frame) != zstdMagic {
		return 0
	}
	descriptor := frame[4]
	single, checksum, dictionary := descriptor>>5&1 == 1, descriptor>>2&1 == 1, descriptor&3
	if checksum || dictionary != 0 || descriptor>>3&1 == 1 {
		return 0
	}
	size := []int{0, 2, 4, 8}[descriptor>>6]
	if single && size == 0 {
		size = 1
	}
	if single {
		return 5 + size
	}
	return 6 + size
}
