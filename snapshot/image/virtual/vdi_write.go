package virtual

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
)

const (
	vdiWriteBlock = 1 << 20 // bytes; qemu reads no other length
	vdiWriteMax   = 1 << 46 // bytes of a disk
	vdiWriteTable = 512     // offset of the map
)

// A vdiWriter writes a dynamic VDI: the map, then the blocks. If the disk's extents are known, it writes the map
// first, and the output may be a stream; it then also writes announced blocks that turn out to be zeros. Otherwise it
// writes the map again at the end.
type vdiWriter struct {
	*grains
	out    *bufio.Writer
	again  io.WriterAt // nil if the map is final from the start
	header []byte
	table  []byte // 4 bytes for each MiB of the disk
	next   int64  // block of the disk; all before it are written
	stored uint32 // blocks in the file
}

// createVDI rounds the disk's size up to sectors, with zeros.
func createVDI(c *creation) (Writer, error) {
	if c.size <= 0 || c.size > vdiWriteMax {
		return nil, fmt.Errorf("%w: a disk of %d bytes; a VDI holds 1 byte to %d TiB", ErrUnsupported, c.size, vdiWriteMax>>40)
	}
	blocks := (c.size + vdiWriteBlock - 1) / vdiWriteBlock
	v := &vdiWriter{out: bufio.NewWriterSize(c.Writer, 1<<20), table: make([]byte, blocks*wordLen)}
	for i := range blocks {
		v.set(i, vdiFree)
	}
	stored := uint32(0)
	var err error
	if c.Extents == nil {
		v.again, err = c.file()
	} else {
		stored, err = v.layOut(c)
	}
	if err != nil {
		return nil, err
	}
	v.grains = &grains{size: c.size, len: vdiWriteBlock, put: v.put}
	v.header = vdiWriteHeader((c.size+511)/512*512, blocks, stored)
	if _, err := v.out.Write(v.header); err != nil {
		return nil, err
	}
	if _, err := v.out.Write(v.table); err != nil {
		return nil, err
	}
	pad := int64(binary.LittleEndian.Uint32(v.header[0x158:])) - vdiWriteTable - blocks*wordLen
	if _, err := v.out.Write(make([]byte, pad)); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *vdiWriter) set(index int64, entry uint32) {
	binary.LittleEndian.PutUint32(v.table[index*wordLen:], entry)
}

// layOut fills the map from the disk's extents, and returns the number of blocks in the file.
func (v *vdiWriter) layOut(c *creation) (stored uint32, err error) {
	next := int64(0)
	for e, err := range c.Extents() {
		if err != nil {
			return 0, err
		}
		if e.Zero {
			continue
		}
		if e.Off < 0 || e.Len <= 0 || e.Len > c.size-e.Off {
			return 0, errors.New("an extent is outside the disk")
		}
		for i := max(next, e.Off/vdiWriteBlock); i <= (e.Off+e.Len-1)/vdiWriteBlock; i++ {
			v.set(i, stored)
			stored, next = stored+1, i+1
		}
	}
	return stored, nil
}

// vdiWriteHeader returns the header and the map. Blocks begin at a whole MiB, as VirtualBox places them.
func vdiWriteHeader(size, blocks int64, stored uint32) []byte {
	p := make([]byte, vdiWriteTable)
	copy(p, "<<< Oracle VM VirtualBox Disk Image >>>\n")
	copy(p[0x40:], vdiMagic)
	le := binary.LittleEndian
	le.PutUint32(p[0x44:], vdiVersion)
	le.PutUint32(p[0x48:], 400)
	le.PutUint32(p[0x4c:], vdiDynamic)
	le.PutUint32(p[0x154:], vdiWriteTable)
	le.PutUint32(p[0x158:], uint32((vdiWriteTable+blocks*wordLen+vdiWriteBlock-1)/vdiWriteBlock*vdiWriteBlock))
	le.PutUint32(p[0x168:], 512) // bytes of a sector; both geometries have it
	le.PutUint64(p[0x170:], uint64(size))
	le.PutUint32(p[0x178:], vdiWriteBlock)
	le.PutUint32(p[0x180:], uint32(blocks))
	le.PutUint32(p[0x184:], stored)
	for _, at := range []int{0x188, 0x198} { // VirtualBox refuses missing or duplicate UUIDs
		id := uuid.New()
		copy(p[at:], id[:])
	}
	le.PutUint32(p[0x1d4:], 512)
	return p
}

// put writes a block, after the announced blocks before it that turned out to be zeros.
func (v *vdiWriter) put(g grain) error {
	if err := v.upTo(g.index); err != nil {
		return err
	}
	if v.again != nil {
		v.set(g.index, v.stored)
	} else if le32(v.table[g.index*wordLen:]) != v.stored {
		return errors.New("there is data where the disk's extents say zeros")
	}
	v.stored, v.next = v.stored+1, g.index+1
	_, err := v.out.Write(g.data)
	return err
}

// upTo writes the announced blocks before index, which hold zeros.
func (v *vdiWriter) upTo(index int64) error {
	for ; v.again == nil && v.next < index; v.next++ {
		if le32(v.table[v.next*wordLen:]) == vdiFree {
			continue
		}
		if _, err := v.out.Write(make([]byte, vdiWriteBlock)); err != nil {
			return err
		}
		v.stored++
	}
	return nil
}

// Close completes the file.
func (v *vdiWriter) Close() error {
	if err := v.close(); err != nil {
		return err
	}
	if err := v.upTo(int64(len(v.table) / wordLen)); err != nil {
		return err
	}
	if err := v.out.Flush(); err != nil || v.again == nil {
		return err
	}
	binary.LittleEndian.PutUint32(v.header[0x184:], v.stored)
	_, err := v.again.WriteAt(append(v.header, v.table...), 0)
	return err
}
