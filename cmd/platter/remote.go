package main

import (
	"os"
	"runtime"
	"strings"
)

// localPath returns a usage error for a path that ssh, rsync, rclone or another backup program reads as a place on another machine.
// As a folder of this machine, it would put the backup of a disk on that very disk. what is the flag or argument of the path.
func localPath(what, path string) error {
	if problem := notLocal(runtime.GOOS, path); problem != "" {
		return usagef("%s %s: %s", what, printable(path), problem)
	}
	return nil
}

// localFile is localPath for a path other than the repository: an existing file is meant, whatever its name.
func localFile(what, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return localPath(what, path)
}

// notLocal says what a path on another machine is, and what to do; "" for a path on this machine. A path that begins with "/" or
// "./" always is one.
func notLocal(goos, path string) string {
	windows := goos == "windows"
	const mount = "which this version cannot reach by itself: mount it and give the folder"
	separators, here := "/", "./"
	if windows {
		separators, here = `/\`, `.\`
	}
	first, below := path, false
	if i := strings.IndexAny(path, separators); i >= 0 {
		first, below = path[:i], true
	}
	drive := len(first) > 1 && first[1] == ':' && (first[0]|0x20) >= 'a' && (first[0]|0x20) <= 'z'
	switch {
	case first == "" && below: // absolute
		return ""
	case windows && drive && !strings.Contains(first[2:], ":"):
		return ""
	case drive && strings.HasPrefix(path[2:], `\`):
		return `a path on a Windows drive, and this is not Windows; write ./… if it really is a local name`
	case strings.HasPrefix(path, `\\`):
		return "a folder that another machine shares, " + mount + ", or write " + here + "… if it really is a local name"
	case first == "~":
		return "the shell did not replace ~ with your home folder; write out the path, or ./~ if it really is a local name"
	case strings.Contains(first, ":"):
		return "a place on another machine, " + mount + ", or write " + here + path + " if it really is a local name"
	}
	return ""
}
