package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
//	paste FILE OFFSET SOURCE        write all of SOURCE over what is there
//	firstfile DIR VAR               set VAR to the path of the first file below DIR, sorted by path, and VAR_NAME to its name
//	lastfile DIR VAR                the same for the last file
//	largest DIR N VAR               the same for the Nth in size, counted from 0: of packs, those hold data and no maps
//	count DIR N                     there must be N files below DIR
//	tree DIR FILE                   write the path, size and checksum of every file below DIR into FILE
//	snapid VAR                      set VAR to the first id, 8 to 64 hex digits, that the last program printed
//	json FILE PATH WANT             look at a value in FILE, which must be one JSON document; see scriptJSON
//	matching A B KEY...             two JSON documents must have the same values under these keys, and not all zeros
//	loop VAR FILE [SECTOR]          set VAR to a loop device over FILE, with sectors of so many bytes, until the script ends
//	madeup DIR DEVICE SERIAL        make up a /sys, /proc and /run in DIR, in which a device has a serial number
//
// Sizes and offsets may end in K, M or G. A negative offset counts from the end of the file. FILE of json may be stdout or
// stderr.
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
		if err := sameFiles(ts.MkAbs(args[0]), ts.MkAbs(args[1])); err != nil {
			ts.Fatalf("%s and %s: %v", args[0], args[1], err)
		}
	})
	add("differ", 2, 2, func(ts *testscript.TestScript, args []string) {
		_, err := os.Stat(ts.MkAbs(args[0]))
		ts.Check(err)
		_, err = os.Stat(ts.MkAbs(args[1]))
		ts.Check(err)
		if sameFiles(ts.MkAbs(args[0]), ts.MkAbs(args[1])) == nil {
			ts.Fatalf("%s and %s are equal", args[0], args[1])
		}
	})
	add("blocks", 2, 2, func(ts *testscript.TestScript, args []string) {
		if used, most := allocated(ts, ts.MkAbs(args[0])), parseSize(ts, args[1]); used > most {
			ts.Fatalf("%s takes %d bytes on the disk, more than %d", args[0], used, most)
		}
	})
	add("paste", 3, 3, func(ts *testscript.TestScript, args []string) {
		source, err := os.ReadFile(ts.MkAbs(args[2]))
		ts.Check(err)
		change(ts, args[0], args[1], func(f *os.File, off int64) error {
			_, err := f.WriteAt(source, off)
			return err
		})
	})
	add("firstfile", 2, 2, func(ts *testscript.TestScript, args []string) {
		setFile(ts, args[1], filesBelow(ts, args[0], 1)[0])
	})
	add("lastfile", 2, 2, func(ts *testscript.TestScript, args []string) {
		files := filesBelow(ts, args[0], 1)
		setFile(ts, args[1], files[len(files)-1])
	})
	add("largest", 3, 3, func(ts *testscript.TestScript, args []string) {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		files := filesBelow(ts, args[0], n+1)
		slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(sizeOf(ts, b), sizeOf(ts, a)) })
		setFile(ts, args[2], files[n])
	})
	add("count", 2, 2, func(ts *testscript.TestScript, args []string) {
		if n := len(filesBelow(ts, args[0], 0)); strconv.Itoa(n) != args[1] {
			ts.Fatalf("%d files below %s, not %s", n, args[0], args[1])
		}
	})
	add("tree", 2, 2, scriptTree)
	add("json", 3, 3, scriptJSON)
	add("matching", 3, 9, scriptMatching)
	add("loop", 2, 3, scriptLoop)
	add("madeup", 3, 3, scriptMadeUp)
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

// change opens an existing file, even if it is read-only, and works out an offset.
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

// filesBelow returns the paths of all files below dir, sorted.
func filesBelow(ts *testscript.TestScript, dir string, least int) (files []string) {
	ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	if len(files) < least {
		ts.Fatalf("%d files below %s", len(files), dir)
	}
	return files
}

func sizeOf(ts *testscript.TestScript, path string) int64 {
	info, err := os.Stat(path)
	ts.Check(err)
	return info.Size()
}

func setFile(ts *testscript.TestScript, variable, path string) {
	ts.Setenv(variable, path)
	ts.Setenv(variable+"_NAME", filepath.Base(path))
}

func scriptTree(ts *testscript.TestScript, args []string) {
	var out strings.Builder
	for _, path := range filesBelow(ts, args[0], 0) {
		data, err := os.ReadFile(path)
		ts.Check(err)
		name, err := filepath.Rel(ts.MkAbs(args[0]), path)
		ts.Check(err)
		fmt.Fprintf(&out, "%s %d %x\n", filepath.ToSlash(name), len(data), sha256.Sum256(data))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o600))
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

// scriptCondition answers what scripts ask beside testscript's own conditions: [device:PATH] whether a block device is
// there, [root] whether nothing is forbidden, [fuse] whether folders can be mounted, which CI must be able to.
func scriptCondition(cond string) (bool, error) {
	if path, ok := strings.CutPrefix(cond, "device:"); ok {
		info, err := os.Stat(path)
		return err == nil && info.Mode().Type() == fs.ModeDevice, nil
	}
	switch cond {
	case "root":
		return os.Getuid() == 0, nil
	case "fuse":
		if _, err := os.Stat("/dev/fuse"); err == nil && os.Getuid() == 0 {
			return true, nil
		}
		if os.Getenv("CI") != "" {
			return false, errors.New("CI has to run as root, with /dev/fuse")
		}
		return false, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}
