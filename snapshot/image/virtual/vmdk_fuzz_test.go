package virtual

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"platter/snapshot/image"
)

// FuzzVMDK opens any bytes as VMDK, beside two parts that a descriptor may name.
func FuzzVMDK(f *testing.F) {
	sparse, _ := smallVMDK()
	f.Add(sparse)
	f.Add(smallStream(f))
	f.Add([]byte(descriptorHead + "RW 10 FLAT \"f\" 0\nRW 4 ZERO\nRW 33 SPARSE \"s\"\n"))
	f.Add([]byte("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=12345678\nparentFileNameHint=\"s\"\nRW 33 SPARSE \"t\"\n"))
	dir := f.TempDir()
	writeFile(f, filepath.Join(dir, "f"), bytes.Repeat([]byte("flat "), 1024))
	writeFile(f, filepath.Join(dir, "s"), sparse)
	writeFile(f, filepath.Join(dir, "t"), both(0, 0)(bytes.Clone(sparse)))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzOpen(t, dir, "vmdk", data, Options{FollowBacking: true}) })
}

// FuzzVDI opens any bytes as VDI.
func FuzzVDI(f *testing.F) {
	for _, extra := range []int{0, 512} {
		file, _ := smallVDI(4096, extra)
		f.Add(file)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) { fuzzOpen(t, dir, "vdi", data, Options{}) })
}

// fuzzOpen checks that a file opens or is refused with an error of the package, within limits of time and memory. If
// it opens, its extents must cover the disk, and their zeros must read as zeros.
func fuzzOpen(t *testing.T, dir, format string, data []byte, o Options) {
	const most = 128 << 20 // bytes of memory
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	f, err := image.Open(writeFile(t, filepath.Join(dir, "disk"), data))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(f, format, o)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, os.ErrNotExist) && !errors.As(err, new(*os.PathError)) {
			t.Errorf("%v: an error of no class", err)
		}
	} else {
		fuzzDisk(t, d)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("%d bytes of memory for a file of %d", n, len(data))
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func fuzzDisk(t *testing.T, d *Disk) {
	at, read := int64(0), 0
	buf := make([]byte, 64<<10)
	for e, err := range d.Extents() {
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v: an error of no class", err)
			}
			return
		}
		if e.Off != at || e.Len <= 0 || e.Len > d.Size()-at {
			t.Fatalf("extent %+v after byte %d of %d", e, at, d.Size())
		}
		at += e.Len
		if read++; read > 200 {
			continue
		}
		p := buf[:min(e.Len, int64(len(buf)))]
		n, err := d.ReadAt(p, e.Off)
		switch {
		case err == io.EOF || err == nil:
			if n < len(p) {
				t.Fatalf("read %d of %d bytes without an error", n, len(p))
			}
			if e.Zero && len(bytes.Trim(p, "\x00")) > 0 {
				t.Fatal("an extent says zeros where there is data")
			}
		case !errors.Is(err, ErrDamaged):
			t.Errorf("%v: an error of no class", err)
		}
	}
	if at != d.Size() {
		t.Fatalf("the extents end at byte %d of %d", at, d.Size())
	}
}
