package virtual

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bits of the incompatible features.
const (
	qcowDirty      = 1 << 0 // the refcounts may be wrong, which does not matter to a reader
	qcowCorrupt    = 1 << 1 // a writer found damage
	qcowDataFile   = 1 << 2 // the clusters are in another file
	qcowCompressed = 1 << 3 // not with deflate
	qcowExtended   = 1 << 4 // extended L2 entries, with subclusters
	qcowKnown      = qcowDirty | qcowCorrupt | qcowDataFile | qcowCompressed | qcowExtended
)

const (
	qcowV2Len       = 72  // bytes of the header of version 2
	qcowV3Len       = 104 // minimum for version 3
	minQcowBits     = 9
	maxQcowBits     = 21
	maxQcowBacking  = 1023   // bytes of a name
	qcowRawDataFile = 1 << 1 // of the autoclear features

	qcowDeflate, qcowZstd = 0, 1 // how clusters are compressed
)

// A qcowHeader is the content of the first cluster.
type qcowHeader struct {
	version       uint32
	bits          uint
	size          int64 // of the disk, in bytes
	l1            int64
	l1Len         int64 // entries
	crypt         uint32
	snapshots     int64 // offset of the table of snapshots
	snapshotCount uint32
	incompatible  uint64
	autoclear     uint64
	compression   byte
	backing       string // empty if there is none
	backingFormat string // empty if unknown
	dataFile      string
	features      map[byte]string // names of incompatible features, by their bit
}

// readQcowHeader reads a header:
//
//	 0 magic   4 version   8 backing file: u64 offset, u32 length   20 u32 cluster bits   24 u64 size of the disk
//	32 u32 encryption   36 u32 L1 entries   40 u64 L1 table   48 refcounts: u64 table, u32 clusters
//	60 u32 snapshots   64 u64 snapshot table; version 3 goes on:
//	72 u64 incompatible, 80 u64 compatible, 88 u64 autoclear features   96 u32 refcount order   100 u32 header length
//	104 u8 compression
func readQcowHeader(o *opening) (*qcowHeader, error) {
	head := make([]byte, min(1<<minQcowBits, o.Size()))
	if _, err := o.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read header: %w", err)
	}
	if !detectQcow2(edges{head: head}) {
		return nil, fmt.Errorf("%w: it does not begin with a qcow2 header", ErrDamaged)
	}
	h := &qcowHeader{version: binary.BigEndian.Uint32(head[4:])}
	if h.version < 2 || h.version > 3 {
		return nil, fmt.Errorf("%w: version %d; convert it to version 3 with: qemu-img convert -O qcow2 %s NEW", ErrUnsupported, h.version, o.path)
	}
	if len(head) < qcowV2Len || h.version > 2 && len(head) < qcowV3Len {
		return nil, fmt.Errorf("%w: its header is truncated after %d bytes", ErrDamaged, len(head))
	}
	if bits := binary.BigEndian.Uint32(head[20:]); bits < minQcowBits || bits > maxQcowBits {
		return nil, fmt.Errorf("%w: clusters of 2^%d bytes: want 2^%d to 2^%d", ErrDamaged, bits, minQcowBits, maxQcowBits)
	} else if h.bits = uint(bits); bits > minQcowBits {
		head = make([]byte, min(1<<bits, o.Size()))
		if _, err := o.ReadAt(head, 0); err != nil && err != io.EOF {
			return nil, fmt.Errorf("read header: %w", err)
		}
	}
	return h, h.parse(head)
}

// parse parses the fields in the first cluster, which may be truncated.
func (h *qcowHeader) parse(head []byte) error {
	size, l1 := binary.BigEndian.Uint64(head[24:]), binary.BigEndian.Uint64(head[40:])
	snapshots := binary.BigEndian.Uint64(head[64:])
	if size>>63 != 0 || l1>>63 != 0 || snapshots>>63 != 0 {
		return fmt.Errorf("%w: a disk of %d bytes, tables at bytes %d and %d", ErrDamaged, size, l1, snapshots)
	}
	h.size, h.l1, h.snapshots = int64(size), int64(l1), int64(snapshots)
	h.crypt = binary.BigEndian.Uint32(head[32:])
	h.l1Len = int64(binary.BigEndian.Uint32(head[36:]))
	h.snapshotCount = binary.BigEndian.Uint32(head[60:])
	length := uint32(qcowV2Len)
	if h.version > 2 {
		h.incompatible = binary.BigEndian.Uint64(head[72:])
		h.autoclear = binary.BigEndian.Uint64(head[88:])
		length = binary.BigEndian.Uint32(head[100:])
		if length < qcowV3Len || int64(length) > int64(len(head)) {
			return fmt.Errorf("%w: a header of %d bytes: want %d to %d", ErrDamaged, length, qcowV3Len, len(head))
		}
		if length > qcowV3Len {
			h.compression = head[qcowV3Len]
		}
	}
	backing, name := binary.BigEndian.Uint64(head[8:]), binary.BigEndian.Uint32(head[16:])
	end := uint64(len(head))
	if backing != 0 {
		if backing > end || name == 0 || name > maxQcowBacking || uint64(name) > end-backing {
			return fmt.Errorf("%w: its header puts the name of its backing file at byte %d, %d bytes long", ErrDamaged, backing, name)
		}
		h.backing = string(head[backing : backing+uint64(name)])
		end = max(backing, uint64(length))
	}
	return h.parseExtensions(head[length:end])
}

// Extensions that matter to a reader.
const (
	qcowBackingFormat = 0xe2792aca
	qcowFeatureNames  = 0x6803f857
	qcowDataFileName  = 0x44415441
	qcowFeatureLen    = 48 // of an entry of the feature names: u8 kind, u8 bit, name
)

// parseExtensions parses the header extensions: u32 kind, u32 length, data padded to a multiple of 8.
func (h *qcowHeader) parseExtensions(p []byte) error {
	for len(p) >= 8 {
		kind, n := binary.BigEndian.Uint32(p), uint64(binary.BigEndian.Uint32(p[4:]))
		if p = p[8:]; kind == 0 {
			return nil
		}
		if n > uint64(len(p)) {
			return fmt.Errorf("%w: extension %#x of its header has %d bytes, but %d are left", ErrDamaged, kind, n, len(p))
		}
		data := p[:n]
		p = p[min((n+7)/8*8, uint64(len(p))):]
		switch kind {
		case qcowBackingFormat:
			h.backingFormat = string(data)
		case qcowDataFileName:
			h.dataFile = string(data)
		case qcowFeatureNames:
			h.features = map[byte]string{}
			for entry := range slices.Chunk(data, qcowFeatureLen) {
				if len(entry) == qcowFeatureLen && entry[0] == 0 {
					name, _, _ := bytes.Cut(entry[2:], []byte{0})
					h.features[entry[1]] = string(name)
				}
			}
		}
	}
	return nil
}

// refusal returns the reason why a file cannot be read and what to do, or nil if it can be read.
func (h *qcowHeader) refusal(path string) error {
	convert := fmt.Sprintf("convert it with: qemu-img convert -O qcow2 %s NEW", path)
	if unknown := h.unknown(); unknown != "" {
		return fmt.Errorf("%w: it uses unknown features: %s; %s", ErrUnsupported, unknown, convert)
	}
	switch {
	case h.crypt == 1:
		return fmt.Errorf("%w: it is encrypted (AES) and cannot be read; %s", ErrUnsupported, convert)
	case h.crypt == 2:
		return fmt.Errorf("%w: it is encrypted (LUKS) and cannot be read; with its password, %s", ErrUnsupported, convert)
	case h.crypt != 0:
		return fmt.Errorf("%w: it is encrypted with an unknown method (%d); %s", ErrUnsupported, h.crypt, convert)
	case h.incompatible&qcowDataFile != 0 && h.autoclear&qcowRawDataFile != 0:
		return fmt.Errorf("%w: its data is in another file, %q, which is a raw disk: name that file instead", ErrUnsupported, h.dataFile)
	case h.incompatible&qcowDataFile != 0:
		return fmt.Errorf("%w: its data is in another file, %q; %s", ErrUnsupported, h.dataFile, convert)
	case (h.incompatible&qcowCompressed != 0) != (h.compression != qcowDeflate):
		return fmt.Errorf("%w: compression %d contradicts its feature bit", ErrDamaged, h.compression)
	case h.compression > qcowZstd:
		return fmt.Errorf("%w: compression %d; %s", ErrUnsupported, h.compression, convert)
	case h.incompatible&qcowExtended != 0 && h.bits < 14:
		return fmt.Errorf("%w: subclusters in clusters of 2^%d bytes, want at least 2^14", ErrDamaged, h.bits)
	}
	return nil
}

// unknown lists the unknown incompatible features, with the names that the file has for them.
func (h *qcowHeader) unknown() string {
	var names []string
	for bit := range byte(64) {
		if (h.incompatible&^qcowKnown)>>bit&1 == 0 {
			continue
		}
		name := fmt.Sprintf("bit %d", bit)
		if given := h.features[bit]; given != "" {
			name += fmt.Sprintf(" (%q)", given)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
