package virtual

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// vhdBlock is the length of written blocks, in bytes: the usual one.
const vhdBlock = 2 << 20

// createVHD writes a dynamic VHD. It pads the disk with zeros to whole sectors.
func createVHD(c *creation) (Writer, error) {
	if c.size > vhdMaxLen {
		return nil, fmt.Errorf("%w: VHD holds at most 2040 GiB, and the disk has %d bytes: use the format vhdx", ErrUnsupported, c.size)
	}
	layout, err := layOutVHD(c, vhdBlock)
	if err != nil {
		return nil, err
	}
	tableLen := (layout.blocks*4 + vhdSector - 1) / vhdSector * vhdSector
	footer := newVHDFooter((c.size+vhdSector-1)/vhdSector, time.Now())
	out := bufio.NewWriterSize(c.Writer, 64<<10) // keeps the first error until Flush
	_, _ = out.Write(footer)
	_, _ = out.Write(newVHDHeader(layout.blocks))
	bitmap := bytes.Repeat([]byte{0xff}, vhdBlock/vhdSector/8)
	at := (vhdFooterLen + vhdHeaderLen + tableLen) / vhdSector
	for i := range tableLen / 4 {
		entry := uint32(vhdUnused)
		if i < layout.blocks && layout.has(i) {
			entry = uint32(at)
			at += int64(len(bitmap)+vhdBlock) / vhdSector
		}
		_, _ = out.Write(binary.BigEndian.AppendUint32(nil, entry))
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	return newVHDWriter(c, layout, vhdBlock, bitmap, footer), nil
}

// newVHDFooter returns the footer of a dynamic disk. It names Hyper-V as its creator, which means that the size field
// counts. The geometry is for very old machines, and may be smaller.
func newVHDFooter(sectors int64, now time.Time) []byte {
	p := make([]byte, vhdFooterLen)
	copy(p, vhdCookie)
	binary.BigEndian.PutUint32(p[8:], 2) // a reserved bit that must be set
	binary.BigEndian.PutUint32(p[12:], vhdVersion)
	binary.BigEndian.PutUint64(p[16:], vhdFooterLen)
	binary.BigEndian.PutUint32(p[24:], uint32(max(0, now.Unix()-time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix())))
	copy(p[28:], "win ")
	binary.BigEndian.PutUint32(p[32:], 0x00060003)
	copy(p[36:], "Wi2k")
	binary.BigEndian.PutUint64(p[40:], uint64(sectors*vhdSector))
	binary.BigEndian.PutUint64(p[48:], uint64(sectors*vhdSector))
	cylinders, heads, perTrack := vhdGeometry(sectors)
	binary.BigEndian.PutUint16(p[56:], cylinders)
	p[58], p[59] = heads, perTrack
	binary.BigEndian.PutUint32(p[60:], vhdDynamic)
	id := uuid.New()
	copy(p[68:], id[:])
	binary.BigEndian.PutUint32(p[64:], vhdSum(p, 64))
	return p
}

func newVHDHeader(blocks int64) []byte {
	p := make([]byte, vhdHeaderLen)
	copy(p, vhdHeaderCookie)
	binary.BigEndian.PutUint64(p[8:], vhdNoOffset)
	binary.BigEndian.PutUint64(p[16:], vhdFooterLen+vhdHeaderLen)
	binary.BigEndian.PutUint32(p[24:], vhdVersion)
	binary.BigEndian.PutUint32(p[28:], uint32(blocks))
	binary.BigEndian.PutUint32(p[32:], vhdBlock)
	binary.BigEndian.PutUint32(p[36:], vhdSum(p, 36))
	return p
}

// vhdGeometry returns the geometry that the specification gives a disk. It is at most as large as the disk.
func vhdGeometry(sectors int64) (cylinders uint16, heads, perTrack uint8) {
	sectors = min(sectors, vhdMaxGeometry)
	h, s := int64(16), int64(255)
	if sectors < 65535*16*63 {
		s = 17
		h = max(4, (sectors/s+1023)/1024)
		if h > 16 || sectors/s >= h*1024 {
			h, s = 16, 31
		}
		if sectors/s >= h*1024 {
			s = 63
		}
	}
	return uint16(sectors / s / h), uint8(h), uint8(s)
}
