package restore

import (
	"bytes"
	"fmt"

	"platter/snapshot/image/gpt"
)

// moveTable writes a partition table: first the second copy, which nothing points to yet. It always reads the table
// back: no chunk ID verifies it.
func moveTable(t target, fit *Fit) error {
	for _, writes := range [][]gpt.Write{fit.second, fit.first} {
		for _, w := range writes {
			if _, err := t.WriteAt(w.Data, w.Off); err != nil {
				return err
			}
		}
		if err := t.Sync(); err != nil {
			return err
		}
		for _, w := range writes {
			got := make([]byte, len(w.Data))
			if _, err := t.ReadAt(got, w.Off); err != nil {
				return fmt.Errorf("read back: %w", err)
			}
			if !bytes.Equal(got, w.Data) {
				return &MismatchError{w.Off, int64(len(got))}
			}
		}
	}
	return nil
}
