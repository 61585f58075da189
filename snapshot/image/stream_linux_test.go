package image

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A stream from a FIFO starts with its writer, however late, and ends with it. (What poll returns for a FIFO that never
// had a writer differs between systems.)
func TestStreamOfLateWriter(t *testing.T) {
	f := mustFIFO(t, os.O_RDONLY|unix.O_NONBLOCK)
	s := mustStream(t, t.Context(), f)
	written := make(chan error)
	go func() {
		w, err := os.OpenFile(f.Name(), os.O_WRONLY, 0)
		if err == nil {
			_, err = w.WriteString("late")
			err = errors.Join(err, w.Close())
		}
		written <- err
	}()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-written); err != nil || string(got) != "late" {
		t.Errorf("read %q, %v", got, err)
	}
}
