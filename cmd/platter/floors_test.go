package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors are the packages, each under those that may import it. A package that is not here has no place yet.
var floors = []string{
	"platter/cmd/platter",
	"platter/snapshot/backup/backuptest",
	"platter/snapshot/heal",
	"platter/snapshot/backup",
	"platter/snapshot/restore",
	"platter/snapshot/snapshottest",
	"platter/snapshot",
	"platter/snapshot/diskmap",
	"platter/snapshot/image/virtual",
	"platter/snapshot/image/anatomy",
	"platter/snapshot/image/gpt",
	"platter/snapshot/image",
	"platter/repo",
	"platter/repo/store/storetest",
	"platter/repo/store",
	"platter/repo/crypt",
	"platter/index",
	"platter/pack/parity",
	"platter/pack",
	"platter/chunk",
}

// TestFloors holds that imports point downward only, and that disks and files keep apart.
func TestFloors(t *testing.T) {
	floor := map[string]int{}
	for i, name := range floors {
		floor[name] = i
	}
	forbidden := map[[2]string]string{
		{"platter/snapshot/image", "platter/repo"}:              "disks know no repository",
		{"platter/repo/store", "platter/pack"}:                  "a store knows names and bytes",
		{"platter/repo/store", "platter/chunk"}:                 "a store knows names and bytes",
		{"platter/repo/store", "platter/index"}:                 "a store knows names and bytes",
		{"platter/repo/store", "platter/pack/parity"}:           "a store knows names and bytes",
		{"platter/snapshot/diskmap", "platter/repo"}:            "a map knows only who loads it",
		{"platter/snapshot/backup", "platter/snapshot/restore"}: "what writes disks and what keeps them are apart",
		{"platter/snapshot/heal", "platter/snapshot/restore"}:   "what is mended is stored, not written to targets",
		{"platter/repo/store", "platter/repo/crypt"}:            "a store knows names and bytes",
	}
	for _, room := range []string{"", "/diskmap", "/backup", "/restore", "/heal"} {
		forbidden[[2]string{"platter/snapshot" + room, "platter/repo/store"}] = "disks know no files"
		forbidden[[2]string{"platter/snapshot" + room, "platter/repo/crypt"}] = "disks know no keys"
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "platter/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, "platter/scripts/") {
			continue // tools of the source tree, no part of the program
		}
		from, ok := floor[p.ImportPath]
		if !ok {
			t.Errorf("%s stands on no floor: say where it belongs", p.ImportPath)
			continue
		}
		seen++
		for _, imported := range p.Imports {
			if to, ok := floor[imported]; ok && to <= from {
				t.Errorf("%s imports %s, which is not below it", p.ImportPath, imported)
			} else if !ok && strings.HasPrefix(imported, "platter/") {
				t.Errorf("%s imports %s, which stands on no floor", p.ImportPath, imported)
			}
			if why := forbidden[[2]string{p.ImportPath, imported}]; why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
	if seen != len(floors) {
		t.Errorf("%d packages seen of %d", seen, len(floors))
	}
}
