package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/crypt"
)

// hostileCases are what those can do who have the keys, and then what everybody can do who owns the NAS.
func hostileCases() []hostileCase {
	const region = 64 << 20
	badMap := map[string]int{"check": 3, "restore": 1, "prune": 1, "stats": 1}
	unreadableSnapshot := map[string]int{"snapshots": 3, "check": 3, "prune": 1}
	return append([]hostileCase{
		{"a frame of data that is a bomb", true, func(f *forger) {
			id := f.bomb(chunk.Data)
			f.snapshot(1<<20, f.maps(page([]chunk.ID{id}, 1<<20))[0])
		}, map[string]int{"check --read-data": 3, "restore": 1}},
		{"a frame of maps that is a bomb", true, func(f *forger) { f.snapshot(1<<20, f.bomb(chunk.Map)) }, badMap},
		{"a page that does not add up", true, func(f *forger) {
			f.snapshot(region, f.maps(page(nil, zeros30|1, zeros30|region))[0])
		}, badMap},
		{"a page of 2^32 pieces", true, func(f *forger) {
			f.snapshot(region, f.maps([]byte{0, 255, 255, 255, 255, 0, 0, 0, 64})[0])
		}, badMap},
		{"a node of another level", true, func(f *forger) { f.snapshot(1<<62, f.wide(4)) }, badMap},
		{"2^62 bytes of nothing", true, func(f *forger) { f.snapshot(1<<62, chunk.ID{}) }, map[string]int{"restore": 1}},
		// They are one page and five nodes.
		{"2^36 regions", true, func(f *forger) { f.snapshot(1<<62, f.wide(5)) }, map[string]int{"restore": 1}},
		{"2^36 regions, and one half is lost", true, func(f *forger) {
			f.snapshot(1<<62, f.wider(5, page([]chunk.ID{{1}}, region/2, zeros30|region/2)))
		}, map[string]int{"restore": 1, "check": 3, "prune": 3}},
		{"a snapshot of less than nothing", false, func(f *forger) { f.snapshot(-1<<62, chunk.ID{}) }, unreadableSnapshot},
		{"a snapshot that is a tower of brackets", false, func(f *forger) {
			f.sealed("snapshots", pack.SnapshotFile, crypt.Snapshots, bytes.Repeat([]byte("["), 15<<20))
		}, unreadableSnapshot},
		{"an index file with counts of 2^32", false, func(f *forger) {
			f.sealed("index", pack.IndexFile, crypt.Indexes, append(bytes.Repeat([]byte{255}, 8), make([]byte, 4088)...))
		}, noIndex()},
		{"an index file with a table of 2^32 chunks", false, func(f *forger) {
			file := (&index.File{Packs: []index.PackTable{{Pack: index.Pack{ID: pack.FileID{1}, Size: 4096}, Table: new(pack.Table)}}}).Encode(0, 0)
			copy(file[8+36:], bytes.Repeat([]byte{255}, 8))
			f.sealed("index", pack.IndexFile, crypt.Indexes, file)
		}, noIndex()},
		{"a marker that condemns all that is live", false, func(f *forger) {
			var packs []string
			for _, path := range f.all("packs/*/*") {
				packs = append(packs, filepath.Base(path))
			}
			f.says("work", pack.MarkerFile, crypt.Markers, map[string]any{"packs": packs, "host": "\x1b[31m", "time": time.Now()})
		}, nil},
		{"a lease from the future, of a name that moves cursors", false, func(f *forger) { f.lease("backup", "\x1b[2J\nhost") }, nil},
		{"a prune from the future", false, func(f *forger) { f.lease("prune", "host") }, map[string]int{"prune": 11}},
	}, nasCases()...)
}

// noIndex is how commands end that need the index, and everything how all do that open the repository.
func noIndex() map[string]int {
	return map[string]int{"check": 3, "restore": 1, "backup": 1, "prune": 1, "stats": 1}
}

func everything() map[string]int {
	m := noIndex()
	m["check"], m["snapshots"], m["forget"] = 1, 1, 1
	return m
}

// lease puts one that is to be touched for the last time in a hundred years.
func (f *forger) lease(work, host string) {
	f.t.Helper()
	then := time.Now().AddDate(100, 0, 0)
	path := f.says("work", pack.LeaseFile, crypt.Leases, map[string]any{"work": work, "host": host, "pid": 1, "time": then})
	if err := os.Chtimes(path, then, then); err != nil {
		f.t.Fatal(err)
	}
}

// nasCases take no key.
func nasCases() []hostileCase {
	link := func(to string) func(path string) error {
		return func(path string) error { return os.Symlink(to, path) }
	}
	fifo := func(path string) error { return unix.Mkfifo(path, 0o600) }
	name := strings.Repeat("ab", 32)
	return []hostileCase{
		{"links, pipes and folders with good names", false, func(f *forger) {
			for i, to := range []string{"/etc/passwd", "/dev/zero", "/proc/self/mem", f.repo} {
				f.odd(fmt.Sprintf("packs/ab/ab%062d", i), link(to))
				f.odd(fmt.Sprintf("snapshots/%064d", i), link(to))
				f.odd(fmt.Sprintf("work/%064d", i), link(to))
			}
			for _, dir := range []string{"index", "keys", "work", "pending", "packs/ab", "forgotten"} {
				f.odd(dir+"/"+name, fifo)
			}
			f.odd("snapshots/"+name, func(path string) error { return os.Mkdir(path, 0o700) })
			f.write("snapshots/"+name+"/"+name, []byte("x"))
		}, nil},
		{"names that move cursors", false, func(f *forger) {
			for _, odd := range []string{"\x1b[2J\x1b[31mred", "two\nlines", "\r\b\b", "\xff\xfe", "\u202elive", strings.Repeat("a", 255)} {
				for _, dir := range []string{"", "packs/", "index/", "snapshots/", "keys/", "work/", "pending/"} {
					f.write(dir+odd, []byte("x"))
				}
			}
		}, nil},
		{"100,000 odd files", false, func(f *forger) {
			for i := range shorter(100_000, 10_000) {
				f.write(fmt.Sprintf("packs/%02x/odd%d", i%256, i), nil)
			}
		}, nil},
		{"packs that are links to endless zeros", false, func(f *forger) {
			for _, path := range f.all("packs/*/*") {
				f.replaces(path, link("/dev/zero"))
			}
		}, map[string]int{"check": 3, "restore": 1, "prune": 1, "stats": 1}},
		{"index files that are pipes", false, func(f *forger) {
			for _, path := range f.all("index/*") {
				if err := os.Remove(path); err != nil {
					f.t.Fatal(err)
				}
				f.odd("index/"+filepath.Base(path), fifo)
			}
		}, map[string]int{"check": 3, "restore": 1}},
		{"a config that is a pipe", false, func(f *forger) { f.replaces(filepath.Join(f.repo, "config"), fifo) }, everything()},
		{"a config that is a link", false, func(f *forger) { f.replaces(filepath.Join(f.repo, "config"), link("/dev/zero")) }, everything()},
		{"a password that costs 1 TiB", false, func(f *forger) {
			data, err := os.ReadFile(f.all("keys/*")[0])
			if err != nil {
				f.t.Fatal(err)
			}
			copy(data[pack.HeaderSize+16+1+4:], []byte{0, 0, 0, 0x40}) // KiB
			f.named("keys", data)
		}, map[string]int{"check": 3}},
		{"work and pending files of garbage", false, func(f *forger) {
			for _, dir := range []string{"work", "pending", "forgotten"} {
				f.named(dir, []byte("garbage"))
				f.named(dir, append(pack.Header(pack.MarkerFile), make([]byte, 100)...))
				f.named(dir, make([]byte, 20<<20))
				f.write(dir+"/"+name, []byte("garbage"))
			}
		}, map[string]int{"check": 3, "backup": 1}},
	}
}
