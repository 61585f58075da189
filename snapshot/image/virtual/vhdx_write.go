package virtual

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/google/uuid"
)

// The output is 1 MiB of headers, 1 MiB of an empty log, 1 MiB of metadata, the table, and the blocks.
const (
	vhdxLogAt      = 1 << 20
	vhdxMetadataAt = 2 << 20
	vhdxTableAt    = 3 << 20

	vhdxSector = 512
	// vhdxBlocks is the number of blocks above which they are made longer: a table of 32 MiB, for 4 TiB. Short blocks
	// hold fewer zeros, and Microsoft recommends blocks of 1 MiB for Linux.
	vhdxBlocks = 1 << 22
)

// createVHDX writes a dynamic VHDX. It pads the disk with zeros to whole sectors.
func createVHDX(c *creation) (Writer, error) {
	if c.size > vhdxMaxLen {
		return nil, fmt.Errorf("%w: VHDX holds at most 64 TiB, and the disk has %d bytes", ErrUnsupported, c.size)
	}
	if c.size == 0 {
		return nil, fmt.Errorf("%w: VHDX cannot hold an empty disk", ErrUnsupported)
	}
	shape := vhdxShape{(c.size + vhdxSector - 1) / vhdxSector * vhdxSector, vhdxMinBlock, vhdxSector}
	for shape.size > shape.blockLen*vhdxBlocks {
		shape.blockLen *= 2
	}
	layout, err := layOutVHD(c, shape.blockLen)
	if err != nil {
		return nil, err
	}
	perChunk := vhdxChunk * vhdxSector / shape.blockLen
	entries := layout.blocks + (layout.blocks-1)/perChunk
	tableLen := (entries*8 + vhdxMiB - 1) / vhdxMiB * vhdxMiB
	if _, err := c.Writer.Write(newVHDXHead(shape, tableLen)); err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(c.Writer, 64<<10) // keeps the first error until Flush
	at := uint64(vhdxTableAt + tableLen)
	for i := range tableLen / 8 {
		var entry uint64
		if block := i - i/(perChunk+1); i < entries && i%(perChunk+1) != perChunk {
			entry = vhdxZero
			if layout.has(block) {
				entry = at | vhdxPresent
				at += uint64(shape.blockLen)
			}
		}
		_, _ = out.Write(binary.LittleEndian.AppendUint64(nil, entry))
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	return newVHDWriter(c, layout, int(shape.blockLen), nil, nil), nil
}

// newVHDXHead returns everything before the table.
func newVHDXHead(shape vhdxShape, tableLen int64) []byte {
	p := make([]byte, vhdxTableAt)
	copy(p, vhdxCookie)
	for i, c := range utf16.Encode([]rune("platter")) {
		binary.LittleEndian.PutUint16(p[8+2*i:], c)
	}
	written, data := uuid.New(), uuid.New()
	for i, at := range [...]int{vhdxHeader1, vhdxHeader2} {
		h := p[at:][:vhdxHeaderLen]
		copy(h, "head")
		binary.LittleEndian.PutUint64(h[8:], uint64(i))
		copy(h[16:], written[:])
		copy(h[32:], data[:])
		binary.LittleEndian.PutUint16(h[66:], 1)
		binary.LittleEndian.PutUint32(h[68:], vhdxMetadataAt-vhdxLogAt)
		binary.LittleEndian.PutUint64(h[72:], vhdxLogAt)
		binary.LittleEndian.PutUint32(h[4:], vhdxSum(h))
	}
	r := p[vhdxRegions1:][:vhdxTableLen]
	copy(r, "regi")
	binary.LittleEndian.PutUint32(r[8:], 2)
	putVHDXRegion(r[16:], vhdxRegionTable, vhdxRegion{vhdxTableAt, tableLen})
	putVHDXRegion(r[48:], vhdxRegionMetadata, vhdxRegion{vhdxMetadataAt, vhdxTableAt - vhdxMetadataAt})
	binary.LittleEndian.PutUint32(r[4:], vhdxSum(r))
	copy(p[vhdxRegions2:], r)
	putVHDXMetadata(p[vhdxMetadataAt:], shape)
	return p
}

func putVHDXRegion(p []byte, guid vhdxGUID, r vhdxRegion) {
	copy(p, guid[:])
	binary.LittleEndian.PutUint64(p[16:], uint64(r.at))
	binary.LittleEndian.PutUint32(p[24:], uint32(r.len))
	binary.LittleEndian.PutUint32(p[28:], 1)
}

func putVHDXMetadata(p []byte, shape vhdxShape) {
	id := uuid.New()
	u32 := func(v int64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }
	items := []struct {
		guid  vhdxGUID
		value []byte
		flags uint32 // 4: required; 2: of the virtual disk
	}{
		{vhdxItemFile, append(u32(shape.blockLen), u32(0)...), 4},
		{vhdxItemSize, binary.LittleEndian.AppendUint64(nil, uint64(shape.size)), 4 | 2},
		{vhdxItemDisk, id[:], 4 | 2},
		{vhdxItemLogical, u32(shape.sector), 4 | 2},
		{vhdxItemPhysical, u32(4096), 4 | 2},
	}
	copy(p, vhdxMetadataCookie)
	binary.LittleEndian.PutUint16(p[10:], uint16(len(items)))
	at := vhdxTableLen
	for i, item := range items {
		e := p[32+32*i:]
		copy(e, item.guid[:])
		binary.LittleEndian.PutUint32(e[16:], uint32(at))
		binary.LittleEndian.PutUint32(e[20:], uint32(len(item.value)))
		binary.LittleEndian.PutUint32(e[24:], item.flags)
		at += copy(p[at:], item.value)
	}
}
