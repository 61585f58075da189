package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"
)

const (
	sectorSize = 512
	alignment  = 1 << 20  // where partitions may begin, and what the backup GPT gets at the end
	espSize    = 40 << 20 // FAT32 needs more than 65525 clusters, which go-diskfs makes 512 bytes here
	minSize    = 64 << 20

	espNumber  = 1
	rootNumber = 2
)

// A machine is an open disk with its two file systems.
type machine struct {
	disk      *disk.Disk
	esp, root filesystem.FileSystem
}

// newMachine partitions and formats a new image; one that exists is left alone.
func newMachine(image string, size int64) (_ *machine, err error) {
	if size < minSize || size%alignment != 0 {
		return nil, fmt.Errorf("size %d: want whole MiB, at least %d", size, minSize>>20)
	}
	d, err := diskfs.Create(image, size, diskfs.SectorSizeDefault)
	if err != nil {
		return nil, fmt.Errorf("create image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()

	if err := d.Partition(partitions(size)); err != nil {
		return nil, fmt.Errorf("partition %s: %w", image, err)
	}
	esp, err := formatESP(d)
	if err != nil {
		return nil, fmt.Errorf("format EFI partition: %w", err)
	}
	id := uuid.MustParse("5a1e0000-0000-4000-8000-000000000003")
	root, err := ext4.Create(d.Backend, rootSize(size), alignment+espSize, sectorSize, &ext4.Params{
		UUID:            &id,
		VolumeName:      "root",
		SectorsPerBlock: pageSize / sectorSize,
		InodeRatio:      64 << 10,
		// go-diskfs lays reserved descriptor blocks out rightly for blocks of 1 KiB only.
		Features: []ext4.FeatureOpt{ext4.WithFeatureReservedGDTBlocksForExpansion(false)},
	})
	if err != nil {
		return nil, fmt.Errorf("format root partition: %w", err)
	}
	return &machine{disk: d, esp: esp, root: root}, nil
}

// formatESP makes an EFI file system with its two folders. In a folder under the root, ".." must name cluster 0;
// go-diskfs 1.9.4 names the root's own cluster, which fsck.vfat calls a fault, so that is put right here.
func formatESP(d *disk.Disk) (filesystem.FileSystem, error) {
	esp, err := fat32.Create(d.Backend, espSize, alignment, sectorSize, "EFI", true)
	if err != nil {
		return nil, err
	}
	w, err := d.Backend.Writable()
	if err != nil {
		return nil, err
	}
	const entrySize, clusterHigh, clusterLow = 32, 20, 26
	dotdot := esp.Start() + int64(esp.DataStart()) + entrySize // of the folder in cluster 2, which is the root
	for _, folder := range []string{"EFI", "loader"} {
		if err := esp.Mkdir(folder); err != nil {
			return nil, err
		}
		dotdot += int64(esp.BytesPerCluster()) // a new file system gives out clusters in order
		for _, off := range []int64{clusterHigh, clusterLow} {
			if _, err := w.WriteAt([]byte{0, 0}, dotdot+off); err != nil {
				return nil, err
			}
		}
	}
	return esp, nil
}

// openMachine opens an image that newMachine made.
func openMachine(image string) (_ *machine, err error) {
	d, err := diskfs.Open(image)
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	esp, err := d.GetFilesystem(espNumber)
	if err != nil {
		return nil, fmt.Errorf("open EFI partition: %w", err)
	}
	root, err := d.GetFilesystem(rootNumber)
	if err != nil {
		return nil, fmt.Errorf("open root partition: %w", err)
	}
	return &machine{disk: d, esp: esp, root: root}, nil
}

func (m *machine) Close() error { return m.disk.Close() }

func rootSize(diskSize int64) int64 { return diskSize - espSize - 2*alignment }

func partitions(diskSize int64) *gpt.Table {
	sectors := func(bytes int64) uint64 { return uint64(bytes / sectorSize) }
	return &gpt.Table{
		ProtectiveMBR:      true,
		LogicalSectorSize:  sectorSize,
		PhysicalSectorSize: sectorSize,
		GUID:               "5A1E0000-0000-4000-8000-000000000000",
		Partitions: []*gpt.Partition{
			{
				Index: espNumber, Type: gpt.EFISystemPartition, Name: "EFI", GUID: "5A1E0000-0000-4000-8000-000000000001",
				Start: sectors(alignment), End: sectors(alignment+espSize) - 1,
			},
			{
				Index: rootNumber, Type: gpt.LinuxFilesystem, Name: "root", GUID: "5A1E0000-0000-4000-8000-000000000002",
				Start: sectors(alignment + espSize), End: sectors(diskSize-alignment) - 1,
			},
		},
	}
}

// write puts data at offset off of a file, which is made with its folders if it is missing. It never shortens one.
func write(fs filesystem.FileSystem, name string, data []byte, off int64) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", name, err)
		}
	}()
	if err := fs.Mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
