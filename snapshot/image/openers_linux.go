package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openers returns for each file the other processes that have it open for writing or hold a lock on it. For a device,
// its partitions and its disk count too. It omits processes that end meanwhile, and those that this user may not
// inspect.
func (s System) openers(files []*os.File) ([][]opener, error) {
	found := make([][]opener, len(files))
	look := openerSearch{system: s, titles: files, files: map[fileID][]int{}, devices: map[devno][]int{}, names: map[devno]string{}, found: found}
	for i, f := range files {
		if id, ok := regularID(f); ok {
			look.files[id] = append(look.files[id], i)
		} else if no, ok := blockDevno(f); ok {
			look.add(no, i)
		}
	}
	processes, err := os.ReadDir(s.at("proc"))
	if errors.Is(err, fs.ErrNotExist) { // a rescue system may have no /proc; locks can be seen without it
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	self, _ := os.Readlink(s.at("proc/self"))
	for _, p := range processes {
		if pid, err := strconv.Atoi(p.Name()); err == nil && p.Name() != self {
			look.process(pid)
		}
	}
	return found, nil
}

// An openerSearch searches for the processes that have some files open.
type openerSearch struct {
	system  System
	titles  []*os.File
	files   map[fileID][]int // indexes of the files
	devices map[devno][]int
	names   map[devno]string
	found   [][]opener
}

// add adds a device and those that share bytes with it to the search.
func (o *openerSearch) add(no devno, at int) {
	o.devices[no] = append(o.devices[no], at)
	dev, err := o.system.device(no)
	if err != nil {
		return
	}
	for _, d := range dev.family() {
		o.names[d.no] = d.name()
		if d.no != no {
			o.devices[d.no] = append(o.devices[d.no], at)
		}
	}
}

// process examines all open files and maps of one process.
func (o *openerSearch) process(pid int) {
	dir := o.system.at("proc", strconv.Itoa(pid))
	entries, err := os.ReadDir(filepath.Join(dir, "fdinfo"))
	if err != nil {
		return
	}
	seen := map[int]*opener{} // by index of the file
	note := func(st *unix.Stat_t, does opener) {
		at, device := o.match(st)
		for _, i := range at {
			if seen[i] == nil {
				seen[i] = &opener{device: device, pid: pid, name: readLine(filepath.Join(dir, "comm"))}
				if device == "" {
					seen[i].device = o.titles[i].Name()
				}
			}
			seen[i].writes, seen[i].locks, seen[i].excludes = seen[i].writes || does.writes, seen[i].locks || does.locks, seen[i].excludes || does.excludes
		}
	}
	for _, e := range entries {
		o.descriptor(dir, e.Name(), note)
	}
	o.mappings(dir, note)
	for i, who := range seen {
		if who.writes || who.locks {
			o.found[i] = append(o.found[i], *who)
		}
	}
}

// match returns the indexes of the files that st matches, and the name if it is a device.
func (o *openerSearch) match(st *unix.Stat_t) (at []int, device string) {
	if no, ok := statDevno(st); ok {
		return o.devices[no], o.names[no]
	}
	return o.files[idOf(st)], ""
}

// descriptor examines one descriptor. It calls stat only on a file whose inode number matches: a file on a dead server
// would not answer.
func (o *openerSearch) descriptor(dir, fd string, note func(st *unix.Stat_t, does opener)) {
	link := filepath.Join(dir, "fd", fd)
	to, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(to, "/") { // a socket, or something else without a name
		return
	}
	info, err := os.ReadFile(filepath.Join(dir, "fdinfo", fd))
	if err != nil {
		return
	}
	flags, ino, does := int64(0), "", opener{}
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "flags":
			flags, _ = strconv.ParseInt(value, 8, 64)
		case "ino":
			ino = value
		case "lock":
			does.locks, does.excludes = true, does.excludes || strings.Contains(value, " WRITE ")
		}
	}
	does.writes = flags&unix.O_ACCMODE != unix.O_RDONLY
	if !does.writes && !does.locks || flags&unix.O_PATH != 0 || len(o.devices) == 0 && ino != "" && !o.hasNumber(ino) {
		return
	}
	var st unix.Stat_t
	if unix.Stat(link, &st) == nil {
		note(&st, does)
	}
}

func (o *openerSearch) hasNumber(ino string) bool {
	n, err := strconv.ParseUint(ino, 10, 64)
	for id := range o.files {
		if err == nil && id.ino == n {
			return true
		}
	}
	return false
}

// mappings finds files that a process can write through a memory map without a descriptor, in lines such as
//
//	7f1c4a000000-7f1c4a100000 rw-s 00000000 08:01 1835042    /srv/disk.img
func (o *openerSearch) mappings(dir string, note func(st *unix.Stat_t, does opener)) {
	data, err := os.ReadFile(filepath.Join(dir, "maps"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || len(fields[1]) < 4 || fields[1][1] != 'w' || fields[1][3] != 's' || fields[5][0] != '/' ||
			len(o.devices) == 0 && !o.hasNumber(fields[4]) {
			continue
		}
		// The path dates from the time of the mapping and may be of another namespace. map_files is exact, but not
		// every user may read it.
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, "map_files", fields[0]), &st) == nil || unix.Stat(filepath.Join(dir, "root", fields[5]), &st) == nil {
			note(&st, opener{writes: true})
		}
	}
}
