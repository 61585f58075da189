package image

import (
	"bytes"
	"iter"
)

// blockLen is the unit in which zeros are looked for: file systems keep holes in blocks of this size.
const blockLen = 4096 // bytes

// Joined drops empty extents and merges neighbours of the same kind, so a producer of runs need not do so.
func Joined(runs iter.Seq2[Extent, error]) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		var last Extent
		for run, err := range runs {
			switch {
			case err != nil:
				if last.Len == 0 || yield(last, nil) {
					yield(Extent{}, err)
				}
				return
			case run.Len == 0:
			case last.Len == 0:
				last = run
			case last.Zero == run.Zero:
				last.Len += run.Len
			default:
				if !yield(last, nil) {
					return
				}
				last = run
			}
		}
		if last.Len > 0 {
			yield(last, nil)
		}
	}
}

// isZero compares p with itself shifted by one byte: if they are equal and the first byte is zero, all bytes are.
func isZero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:])
}
