package store

import (
	"fmt"
	"math"
	"strings"
)

const maxPart = 255 // bytes; what every file system in use takes

// checkName holds a name to the rules that Store states. They are narrow on purpose: a name that passes means the same
// on a file system that folds case, in a URL and in a shell, and cannot lead out of the store.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("%w: %s", ErrBadName, err)
		}
	}
	return nil
}

// checkDir is checkName for what List takes, where "" is the whole store.
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

// isTemp reports whether part is a name as writeTemp makes them. Others use such names, too, but hardly one of just that
// form.
func isTemp(part string) bool {
	random, ok := strings.CutPrefix(part, tempPrefix)
	return ok && len(random) == 32 && strings.Trim(random, "0123456789abcdef") == ""
}

// span is how many bytes a Get of n bytes from off returns when the file has size bytes: what it may allocate, however
// large n is.
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
