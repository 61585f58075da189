package pack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A Compression is how hard frames are compressed. Each frame records its encoding, so one repository may mix them,
// and each backup may choose its own.
type Compression uint8

// Compressions, in order of effort; docs/benchmarks.md lists what each costs and saves.
const (
	CompressAuto Compression = iota // the default level, or a higher one where that costs no time; an Encoder treats it as CompressDefault
	CompressOff
	CompressFastest
	CompressDefault
	CompressBetter
)

// compressions are the names on the command line.
var compressions = [...]string{"auto", "off", "fastest", "default", "better"}

// ParseCompression parses a name from the command line.
func ParseCompression(name string) (Compression, error) {
	if i := slices.Index(compressions[:], name); i >= 0 {
		return Compression(i), nil
	}
	return 0, fmt.Errorf("%q is not a compression level: want %s", name, strings.Join(compressions[:], ", "))
}

func (c Compression) String() string { return compressions[c] }

// level returns zstd's name for it.
func (c Compression) level() zstd.EncoderLevel {
	switch c {
	case CompressFastest:
		return zstd.SpeedFastest
	case CompressBetter:
		return zstd.SpeedBetterCompression
	}
	return zstd.SpeedDefault
}
