package store

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
)

func TestMakeRoot(t *testing.T) {
	for _, test := range []struct {
		root string
		want string
		err  error
	}{
		{"/nas/a/b", "mkdir /nas/a, sync /nas, mkdir /nas/a/b, sync /nas/a", nil},
		{"/nas/a/b/", "mkdir /nas/a, sync /nas, mkdir /nas/a/b/, sync /nas/a", nil},
		{"/nas/a", "mkdir /nas/a, sync /nas", nil},
		{"/nas", "", fs.ErrExist},
		{"/", "", fs.ErrExist},
		{"a", "mkdir a, sync .", nil},
		{"", "", fs.ErrNotExist},
	} {
		made := map[string]bool{"/": true, "/nas": true, ".": true}
		var calls []string
		err := makeRoot(test.root, func(dir string) error {
			if made[path.Clean(dir)] && dir != "" {
				return fs.ErrExist
			}
			if !made[path.Dir(path.Clean(dir))] || dir == "" {
				return fs.ErrNotExist
			}
			made[path.Clean(dir)] = true
			calls = append(calls, "mkdir "+dir)
			return nil
		}, func(dir string) error {
			calls = append(calls, "sync "+dir)
			return nil
		})
		if got := strings.Join(calls, ", "); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("makeRoot(%q) calls %s and says %v, want %s and %v", test.root, got, err, test.want, test.err)
		}
	}
}
