package virtual

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zlib"
)

const (
	vmdkWriteGrain = 64 << 10         // bytes
	vmdkWriteTable = 512              // entries
	vmdkWriteDesc  = 20               // sectors for the descriptor
	vmdkOverhead   = 128              // sectors before the first grain
	vmdkSpan       = vmdkWriteGrain * // bytes of the disk that a table covers
		vmdkWriteTable
)

// A vmdkWriter writes a stream-optimized file, which is made for sequential writing: grains one after the other, each
// table after its grains, the directory after the tables, and a footer that points to the directory.
//
//	header  descriptor  grain grain …  table  grain grain …  table  directory  footer  end
type vmdkWriter struct {
	*grains
	out    *bufio.Writer
	sector uint64 // the next sector
	header []byte
	zlib   sync.Pool // *zlib.Writer

	table     []byte // the entries of the current table
	index     int64  // of that table
	directory []byte
}

// createVMDK rounds the disk's size up to sectors, with zeros.
func createVMDK(c *creation) (Writer, error) {
	if c.size <= 0 || c.size > vmdkMax {
		return nil, fmt.Errorf("%w: a disk of %d bytes; a VMDK holds 1 byte to %d TiB", ErrUnsupported, c.size, vmdkMax>>40)
	}
	sectors := (c.size + vmdkSector - 1) / vmdkSector
	v := &vmdkWriter{
		out:       bufio.NewWriterSize(c.Writer, 1<<20),
		sector:    vmdkOverhead,
		header:    vmdkWriteHeader(sectors),
		table:     make([]byte, vmdkWriteTable*wordLen),
		directory: make([]byte, (c.size+vmdkSpan-1)/vmdkSpan*wordLen),
	}
	v.grains = &grains{size: c.size, len: vmdkWriteGrain, encode: v.pack, put: v.put}
	begin := make([]byte, vmdkOverhead*vmdkSector)
	copy(begin, v.header)
	copy(begin[vmdkSector:vmdkSector*(1+vmdkWriteDesc)], vmdkWriteDescriptor(sectors))
	if _, err := v.out.Write(begin); err != nil {
		return nil, err
	}
	return v, nil
}

// vmdkWriteHeader returns the header, which puts the directory at the end.
func vmdkWriteHeader(sectors int64) []byte {
	p := make([]byte, vmdkHeaderLen)
	copy(p, vmdkMagic)
	le := binary.LittleEndian
	le.PutUint32(p[4:], 3) // as in VMware's exports
	le.PutUint32(p[8:], vmdkFlagNewlines|vmdkFlagPacked|vmdkFlagMarkers)
	le.PutUint64(p[12:], uint64(sectors))
	le.PutUint64(p[20:], vmdkWriteGrain/vmdkSector)
	le.PutUint64(p[28:], 1)
	le.PutUint64(p[36:], vmdkWriteDesc)
	le.PutUint32(p[44:], vmdkWriteTable)
	le.PutUint64(p[56:], vmdkAtEnd)
	le.PutUint64(p[64:], vmdkOverhead)
	copy(p[73:], "\n \r\n")
	le.PutUint16(p[77:], 1)
	return p
}

// vmdkWriteDescriptor returns the descriptor. The content ID is random: children identify the disk by it.
func vmdkWriteDescriptor(sectors int64) string {
	id := uuid.New()
	cid := binary.LittleEndian.Uint32(id[:])
	if cid >= vmdkNoParent-1 { // both have other meanings
		cid = 1
	}
	const heads, track = 255, 63 // the geometry that a SCSI adapter presents to the BIOS
	cylinders := min((sectors+heads*track-1)/(heads*track), 65535)
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=%08x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.longContentID = "%x%08x"
ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.adapterType = "lsilogic"
`, cid, sectors, id[4:], cid, cylinders, heads, track)
}

// pack compresses a grain, and leaves room for its marker in front.
func (v *vmdkWriter) pack(data []byte) ([]byte, error) {
	z, _ := v.zlib.Get().(*zlib.Writer)
	if z == nil {
		z = zlib.NewWriter(nil)
	}
	defer v.zlib.Put(z)
	var out bytes.Buffer
	out.Grow(len(data) / 2)
	out.Write(make([]byte, vmdkMarkLen))
	z.Reset(&out)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// put writes a grain. If the grain belongs to a new table, put first writes the previous one.
func (v *vmdkWriter) put(g grain) error {
	if index := g.index / vmdkWriteTable; index != v.index {
		if err := v.endTable(); err != nil {
			return err
		}
		v.index = index
	}
	binary.LittleEndian.PutUint64(g.coded, uint64(g.index)*(vmdkWriteGrain/vmdkSector))
	binary.LittleEndian.PutUint32(g.coded[8:], uint32(len(g.coded)-vmdkMarkLen))
	at, err := v.append(g.coded)
	if err == nil {
		binary.LittleEndian.PutUint32(v.table[g.index%vmdkWriteTable*wordLen:], at)
	}
	return err
}

// endTable writes the current table, unless it is empty.
func (v *vmdkWriter) endTable() error {
	if len(bytes.Trim(v.table, "\x00")) == 0 {
		return nil
	}
	at, err := v.appendMarked(vmdkMarkTable, v.table)
	if err == nil {
		binary.LittleEndian.PutUint32(v.directory[v.index*wordLen:], at)
		clear(v.table)
	}
	return err
}

// appendMarked writes a marker and its data, and returns the data's sector.
func (v *vmdkWriter) appendMarked(mark uint32, p []byte) (uint32, error) {
	marker := make([]byte, vmdkSector)
	binary.LittleEndian.PutUint64(marker, uint64(len(p)+vmdkSector-1)/vmdkSector)
	binary.LittleEndian.PutUint32(marker[12:], mark)
	if _, err := v.append(marker); err != nil {
		return 0, err
	}
	return v.append(p)
}

// append writes whole sectors, and returns the first one.
func (v *vmdkWriter) append(p []byte) (uint32, error) {
	at := v.sector
	if at > 1<<32-1 {
		return 0, fmt.Errorf("%w: the file would be larger than 2 TiB, and a VMDK cannot address more; use another format", ErrUnsupported)
	}
	if _, err := v.out.Write(p); err != nil {
		return 0, err
	}
	pad := -len(p) & (vmdkSector - 1)
	if _, err := v.out.Write(make([]byte, pad)); err != nil {
		return 0, err
	}
	v.sector += uint64(len(p)+pad) / vmdkSector
	return uint32(at), nil
}

// Close completes the file.
func (v *vmdkWriter) Close() error {
	if err := v.close(); err != nil {
		return err
	}
	if err := v.endTable(); err != nil {
		return err
	}
	at, err := v.appendMarked(vmdkMarkDirectory, v.directory)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(v.header[56:], uint64(at))
	if _, err := v.appendMarked(vmdkMarkFooter, v.header); err != nil {
		return err
	}
	if _, err := v.append(make([]byte, vmdkSector)); err != nil { // vmdkMarkEnd
		return err
	}
	return v.out.Flush()
}
