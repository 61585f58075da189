package pack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A Compression is how hard frames are compressed. Every frame says how it was made, so a repository may hold frames of
// all kinds, and each backup may choose anew.
type Compression uint8

// Compressions, the harder the later; docs/benchmarks.md has what each costs and saves.
const (
	CompressAuto Compression = iota // the default level, or harder where that costs no time; an Encoder takes it for CompressDefault
	CompressOff
	CompressFastest
	CompressDefault
	CompressBetter
)

// compressions are their names for people.
var compressions = [...]string{"auto", "off", "fastest", "default", "better"}

// ParseCompression reads a name for people.
func ParseCompression(name string) (Compression, error) {
	if i := slices.Index(compressions[:], name); i >= 0 {
		return Compression(i), nil
	}
	return 0, fmt.Errorf("%q is no compression: want %s", name, strings.Join(compressions[:], ", "))
}

func (c Compression) String() string { return compressions[c] }

// level returns what zstd calls it.
func (c Compression) level() zstd.EncoderLevel {
	switch c {
	case CompressFastest:
		return zstd.SpeedFastest
	case CompressBetter:
		return zstd.SpeedBetterCompression
	}
	return zstd.SpeedDefault
}
