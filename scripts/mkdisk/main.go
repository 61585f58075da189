// Command mkdisk makes the disk that the demonstration and the tests back up: a GPT disk with an EFI system partition
// (FAT32) and a root partition (ext4), filled with generated files. Every file's bytes are the same on every run; the
// file systems' time stamps are not.
//
//	mkdisk [-size 256M] OUT.img     a new disk, version 1
//	mkdisk -version 2 OUT.img       the changes of the next day, made in place
//	mkdisk -version 3 OUT.img       and those of the day after
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkdisk:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	size := int64(256 << 20)
	flags := flag.NewFlagSet("mkdisk", flag.ContinueOnError)
	version := flags.Int("version", 1, "`1` makes a new disk, 2 and 3 change an existing one")
	flags.Func("size", "`size` of a new disk, with K, M or G (default 256M)", func(s string) (err error) {
		size, err = parseSize(s)
		return err
	})
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one image file, got %d arguments", flags.NArg())
	}
	image := flags.Arg(0)

	if *version == 1 {
		return create(image, size)
	}
	return change(image, *version)
}

// parseSize reads a whole number of bytes with an optional binary suffix.
func parseSize(s string) (int64, error) {
	shift := 0
	digits := strings.TrimRight(s, "KMG")
	switch s[len(digits):] {
	case "":
	case "K":
		shift = 10
	case "M":
		shift = 20
	case "G":
		shift = 30
	default:
		return 0, fmt.Errorf("size %q: want one of K, M and G", s)
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w", s, err)
	}
	return int64(n) << shift, nil
}
