package main

import (
	"os"
	"runtime"
	"strings"
)

// localPath returns a usage error for a path that means a place on another machine to ssh, rsync, rclone or another backup
// program. Taken for a folder of this machine, it would keep the backup of a disk on that very disk. what is the flag or
// argument that it comes from.
func localPath(what, path string) error {
	if problem := notLocal(runtime.GOOS, path); problem != "" {
		return usagef("%s %s: %s", what, printable(path), problem)
	}
	return nil
}

// localFile is localPath for a file that need not be the repository's: one that is there is meant, whatever its name.
func localFile(what, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return localPath(what, path)
}

// notLocal says what a path is that is none of this machine, and what to do; "" for one that is. A path that begins with "/" or
// "./" always is.
func notLocal(goos, path string) string {
	windows := goos == "windows"
	const mount = "which this version does not reach by itself: mount it there and give the folder"
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
		return `a folder on a drive of Windows, and this is none; write ./… if it really is a name here`
	case strings.HasPrefix(path, `\\`):
		return "a folder that another machine shares, " + mount + ", or write " + here + "… if it really is a name here"
	case first == "~":
		return "the shell did not put your home in the place of ~; write out the path, or ./~ if it really is a name here"
	case strings.Contains(first, ":"):
		return "a place on another machine, " + mount + ", or write " + here + path + " if it really is a name here"
	}
	return ""
}
