package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sameFiles returns an error that says where two files differ first.
func sameFiles(pathA, pathB string) (err error) {
	a, err := os.Open(pathA)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(pathB)
	if err != nil {
		return err
	}
	defer b.Close()
	return sameBytes(a, b)
}

// sameBytes reads both to their ends and says where they differ first.
func sameBytes(a, b io.Reader) error {
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if at := difference(bufA[:n], bufB[:m]); at >= 0 {
			return fmt.Errorf("they differ at byte %d", off+int64(at))
		}
		if off += int64(n); errA != nil || errB != nil {
			return errors.Join(otherThanEnd(errA), otherThanEnd(errB))
		}
	}
}

// difference returns where a and b differ first, or -1.
func difference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func otherThanEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

func TestSameFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	disk := make([]byte, 3<<20+5)
	_, _ = io.ReadFull(random(1), disk)
	a := write("a", disk)
	if err := sameFiles(a, write("b", disk)); err != nil {
		t.Error(err)
	}
	for _, end := range []int{0, 1 << 20, 3<<20 + 4} {
		if sameFiles(a, write("b", disk[:end])) == nil || sameFiles(write("b", disk[:end]), a) == nil {
			t.Errorf("the first %d bytes passed for all of them", end)
		}
		disk[end] ^= 1
		if err := sameFiles(a, write("b", disk)); err == nil || err.Error() != fmt.Sprintf("they differ at byte %d", end) {
			t.Errorf("byte %d changed: %v", end, err)
		}
		disk[end] ^= 1
	}
}
