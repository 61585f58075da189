package virtual

import (
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"platter/chunk"
	"platter/snapshot/image"
)

// A holey leaves holes in a file where zeros are written to it.
type holey struct{ *os.File }

func (h holey) Write(p []byte) (int, error) {
	if chunk.IsZero(p) {
		_, err := h.Seek(int64(len(p)), io.SeekCurrent)
		return len(p), err
	}
	return h.File.Write(p)
}

func (h holey) WriteAt(p []byte, off int64) (int, error) {
	if chunk.IsZero(p) {
		return len(p), nil
	}
	return h.File.WriteAt(p, off)
}

// TestQcow2RefcountsOfLargeFiles checks refcounts in files with several refcount blocks, which cover 2 GiB each.
func TestQcow2RefcountsOfLargeFiles(t *testing.T) {
	for _, compress := range []bool{false, true} {
		// At most one cluster less or more than some number of blocks covers, with and without tables.
		for _, clusters := range []int64{32768 - 20, 32768 - 15, 32768 - 12, 32768 - 8, 65536 + 3} {
			if testing.Short() && (compress || clusters != 32768-12) {
				continue
			}
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			size := clusters * qcowWriteCluster
			w, err := Create(holey{f}, "qcow2", size, CreateOptions{Compress: compress, Extents: func() iter.Seq2[image.Extent, error] {
				return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: size}, nil) }
			}})
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := w.(*qcowPacker); ok {
				zeros := make([]byte, qcowWriteCluster)
				for i := int64(0); i < clusters && err == nil; i++ {
					err = p.put(grain{index: i, data: zeros, coded: zeros}) // as if they were incompressible
				}
				p.at = size
			} else {
				err = w.Skip(size)
			}
			if err := errors.Join(err, w.Close(), truncateUp(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			qemuImg(t, "", "check", path)
			if all := extentsOf(t, mustOpen(t, path, "qcow2", Options{})); len(all) != 1 || all[0].Zero {
				t.Errorf("%d clusters: extents %+v", clusters, all)
			}
		}
	}
}

// truncateUp extends a file to the end of its last write, even if that was a hole.
func truncateUp(f *os.File) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(max(at, (info.Size()+qcowWriteCluster-1)&^(qcowWriteCluster-1)))
}
