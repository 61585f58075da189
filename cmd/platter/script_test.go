package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCommands are what scripts in testdata/script can use besides testscript's own:
//
//	exits CODE PROGRAM ARGS...      run a program that must exit with CODE; stdout and stderr can be looked at after it
//	mkdisk FILE SIZE SEED [KIND]    write a disk, always the same: zeros, random (the default), text, mixed, or sparse
//	poke FILE OFFSET DATA           write DATA, a string or hex digits behind 0x, over what is there
//	flip FILE OFFSET                flip one bit of the byte there
//	shrink FILE SIZE                cut a file off
//	same A B                        the files must be equal, byte for byte
//	differ A B                      they must not
//	blocks FILE MAX                 a file must take no more than MAX bytes on the disk (unix)
//	firstfile DIR VAR               set VAR to the path of the first file below DIR, sorted by path
//	snapid VAR                      set VAR to the first id, 8 to 64 hex digits, that the last program printed
//
// Sizes and offsets may end in K, M or G. A negative offset counts from the end of the file.
func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	add := func(name string, least, most int, run func(ts *testscript.TestScript, args []string)) {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < least || len(args) > most {
				ts.Fatalf("%s: wrong number of arguments, or a ! before it; see scriptCommands", name)
			}
			run(ts, args)
		}
	}
	add("exits", 2, 99, scriptExits)
	add("mkdisk", 3, 4, scriptMkdisk)
	add("poke", 3, 3, scriptPoke)
	add("flip", 2, 2, scriptFlip)
	add("shrink", 2, 2, func(ts *testscript.TestScript, args []string) {
		ts.Check(os.Truncate(ts.MkAbs(args[0]), parseSize(ts, args[1])))
	})
	add("same", 2, 2, func(ts *testscript.TestScript, args []string) {
		if at := firstDifference(ts, args); at >= 0 {
			ts.Fatalf("%s and %s differ from byte %d on", args[0], args[1], at)
		}
	})
	add("differ", 2, 2, func(ts *testscript.TestScript, args []string) {
		if firstDifference(ts, args) < 0 {
			ts.Fatalf("%s and %s are equal", args[0], args[1])
		}
	})
	add("blocks", 2, 2, func(ts *testscript.TestScript, args []string) {
		if used, most := allocated(ts, ts.MkAbs(args[0])), parseSize(ts, args[1]); used > most {
			ts.Fatalf("%s takes %d bytes on the disk, more than %d", args[0], used, most)
		}
	})
	add("firstfile", 2, 2, scriptFirstFile)
	add("snapid", 1, 1, func(ts *testscript.TestScript, args []string) {
		id := regexp.MustCompile(`\b[0-9a-f]{8,64}\b`).FindString(ts.ReadFile("stdout"))
		if id == "" {
			ts.Fatalf("no id in what the last program printed")
		}
		ts.Setenv(args[0], id)
	})
	return commands
}

func scriptExits(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exited with %d, not %d", args[1], got, want)
	}
}

func scriptMkdisk(ts *testscript.TestScript, args []string) {
	seed, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	kind := "random"
	if len(args) > 3 {
		kind = args[3]
	}
	ts.Check(makeDisk(ts.MkAbs(args[0]), parseSize(ts, args[1]), seed, kind))
}

func scriptPoke(ts *testscript.TestScript, args []string) {
	data := []byte(args[2])
	if digits, ok := strings.CutPrefix(args[2], "0x"); ok {
		var err error
		data, err = hex.DecodeString(digits)
		ts.Check(err)
	}
	change(ts, args[0], args[1], func(f *os.File, off int64) error {
		_, err := f.WriteAt(data, off)
		return err
	})
}

func scriptFlip(ts *testscript.TestScript, args []string) {
	change(ts, args[0], args[1], func(f *os.File, off int64) error {
		var b [1]byte
		if _, err := f.ReadAt(b[:], off); err != nil {
			return err
		}
		b[0] ^= 1 << (off % 8)
		_, err := f.WriteAt(b[:], off)
		return err
	})
}

// change opens a file that is there, whoever may write to it, and works out an offset.
func change(ts *testscript.TestScript, name, offset string, do func(*os.File, int64) error) {
	f, err := os.OpenFile(ts.MkAbs(name), os.O_RDWR, 0)
	ts.Check(err)
	off := parseSize(ts, offset)
	if off < 0 {
		info, err := f.Stat()
		ts.Check(err)
		off += info.Size()
	}
	err = do(f, off)
	ts.Check(errors.Join(err, f.Close()))
}

// firstDifference returns where two files differ first, or -1 when they are equal.
func firstDifference(ts *testscript.TestScript, args []string) int64 {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) {
		return -1
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return int64(n)
}

func scriptFirstFile(ts *testscript.TestScript, args []string) {
	first := ""
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			first, err = path, fs.SkipAll
		}
		return err
	}))
	if first == "" {
		ts.Fatalf("no file below %s", args[0])
	}
	ts.Setenv(args[1], first)
}

func parseSize(ts *testscript.TestScript, s string) int64 {
	digits := strings.TrimRight(s, "KMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30}[s[len(digits):]]
	if err != nil || !ok {
		ts.Fatalf("size %q: want a number, and K, M or G if need be", s)
	}
	return n << shift
}
