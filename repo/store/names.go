package store

import (
	"fmt"
	"math"
	"strings"
)

const maxPart = 255 // bytes; the limit of every common file system

// checkName checks a name against the rules of Store. They are narrow on purpose. A valid name means the same on a file
// system that folds case, in a URL and in a shell. It cannot lead out of the store.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("%w: %s", ErrBadName, err)
		}
	}
	return nil
}

// checkDir is checkName for List, which also accepts "" for the whole store.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	return checkName(dir)
}

func checkPart(part string) error {
	if part == "" {
		return fmt.Errorf("an empty part")
	}
	if len(part) > maxPart {
		return fmt.Errorf("a part of %d bytes, %d at most", len(part), maxPart)
	}
	for i := range len(part) {
		switch c := part[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '-'):
		default:
			return fmt.Errorf("byte %q at %d of a part", c, i)
		}
	}
	return nil
}

// isTemp reports whether part has the form of writeTemp's names. Other programs use such names too, but hardly of
// exactly this form.
func isTemp(part string) bool {
	random, ok := strings.CutPrefix(part, tempPrefix)
	return ok && len(random) == 32 && strings.Trim(random, "0123456789abcdef") == ""
}

// span returns how many bytes Get returns for n bytes at off of a file of size bytes. Get may allocate no more, even if
// n is huge.
func span(size, off, n int64) (int, error) {
	if off < 0 || n < 0 {
		return 0, fmt.Errorf("range of %d bytes from %d is negative", n, off)
	}
	length := min(n, max(size-off, 0))
	if length > math.MaxInt {
		return 0, fmt.Errorf("range of %d bytes does not fit this machine's memory", length)
	}
	return int(length), nil
}
