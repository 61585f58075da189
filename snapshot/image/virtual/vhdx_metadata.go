package virtual

import (
	"encoding/binary"
	"fmt"
)

// The metadata region: "metadata", 2 bytes, count u16, 20 bytes; then for each item its GUID, offset in the region
// u32 (from 64 KiB on), length u32, flags u32 and 4 bytes. Flags: 1 a user's, 2 of the virtual disk, 4 required: a
// reader that does not know the item must not open the file.
//
//	file parameters: length of a block u32, flags u32: 1 blocks stay allocated (a fixed disk), 2 it has a parent
//	disk size u64, logical sector size u32, physical sector size u32; disk GUID; parent locator
var (
	vhdxItemFile     = vhdxGUID{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	vhdxItemSize     = vhdxGUID{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	vhdxItemDisk     = vhdxGUID{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}
	vhdxItemLogical  = vhdxGUID{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}
	vhdxItemPhysical = vhdxGUID{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}
	vhdxItemParent   = vhdxGUID{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}
)

const (
	vhdxMetadataCookie = "metadata"
	vhdxMinBlock       = 1 << 20   // bytes
	vhdxMaxBlock       = 256 << 20 // bytes
	vhdxMaxLen         = 64 << 40  // of a disk, in bytes
)

// vhdxShape holds the disk's dimensions from the metadata, in bytes.
type vhdxShape struct{ size, blockLen, sector int64 }

// A vhdxItem is the place of a metadata item.
type vhdxItem struct{ at, len uint32 }

func (f *vhdxFile) readMetadata() (vhdxShape, error) {
	items, err := f.readItems()
	if err != nil {
		return vhdxShape{}, err
	}
	value := func(guid vhdxGUID, n uint32) uint64 {
		var p [8]byte
		switch item, ok := items[guid]; {
		case err != nil:
		case !ok || item.len != n:
			err = fmt.Errorf("%w: metadata item %x is missing or not %d bytes long", ErrDamaged, guid, n)
		default:
			err = vhdReadFull(f, p[:min(n, 8)], f.metadata.at+int64(item.at))
		}
		return binary.LittleEndian.Uint64(p[:])
	}
	file, size, logical, physical := value(vhdxItemFile, 8), value(vhdxItemSize, 8), value(vhdxItemLogical, 4), value(vhdxItemPhysical, 4)
	value(vhdxItemDisk, 16)
	if err != nil {
		return vhdxShape{}, err
	}
	if _, parent := items[vhdxItemParent]; parent || file>>32&2 != 0 {
		return vhdxShape{}, fmt.Errorf("%w: it is a differencing disk: merge it with its parent first (in Hyper-V: Merge-VHD)",
			ErrUnsupported)
	}
	blockLen := file & (1<<32 - 1)
	if blockLen < vhdxMinBlock || blockLen > vhdxMaxBlock || blockLen&(blockLen-1) != 0 {
		return vhdxShape{}, fmt.Errorf("%w: blocks of %d bytes", ErrDamaged, blockLen)
	}
	if logical != 512 && logical != 4096 || physical != 512 && physical != 4096 {
		return vhdxShape{}, fmt.Errorf("%w: sectors of %d and %d bytes", ErrDamaged, logical, physical)
	}
	if size > vhdxMaxLen || size%logical != 0 {
		return vhdxShape{}, fmt.Errorf("%w: a disk of %d bytes with sectors of %d", ErrDamaged, size, logical)
	}
	return vhdxShape{int64(size), int64(blockLen), int64(logical)}, nil
}

// readItems returns the places of the known metadata items.
func (f *vhdxFile) readItems() (map[vhdxGUID]vhdxItem, error) {
	p := make([]byte, vhdxTableLen)
	if err := vhdReadFull(f, p, f.metadata.at); err != nil {
		return nil, err
	}
	count := int(binary.LittleEndian.Uint16(p[10:]))
	if string(p[:8]) != vhdxMetadataCookie || count > vhdxTableMax {
		return nil, fmt.Errorf("%w: its metadata table is missing or has %d items", ErrDamaged, count)
	}
	items := make(map[vhdxGUID]vhdxItem)
	for i := range count {
		e := p[32+32*i:][:32]
		guid := vhdxGUID(e[:16])
		item := vhdxItem{binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])}
		flags := binary.LittleEndian.Uint32(e[24:])
		switch guid {
		case vhdxItemFile, vhdxItemSize, vhdxItemDisk, vhdxItemLogical, vhdxItemPhysical, vhdxItemParent:
			if flags&1 == 0 {
				break
			}
			fallthrough
		default:
			if flags&4 != 0 {
				return nil, fmt.Errorf("%w: metadata item %x is unknown, and the file requires it", ErrUnsupported, guid)
			}
			continue
		}
		if _, twice := items[guid]; twice {
			return nil, fmt.Errorf("%w: metadata item %x is in its table twice", ErrDamaged, guid)
		}
		if int64(item.at) < vhdxTableLen || int64(item.at)+int64(item.len) > f.metadata.len {
			return nil, fmt.Errorf("%w: metadata item %x is at byte %d of its region, which is invalid", ErrDamaged, guid, item.at)
		}
		items[guid] = item
	}
	return items, nil
}
