package store

import "os"

// On Windows a file inherits its permissions from its folder.

func createShared(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func mkdirShared(root *os.Root, dir string) error { return root.Mkdir(dir, 0o700) }

func makeShared(dir string) error { return os.Mkdir(dir, 0o700) }
