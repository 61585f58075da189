package repo

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"platter/pack"
)

// A due pack is one that a check has to look at.
type due struct {
	id    pack.FileID
	size  int64
	whole bool // of the length that the index says: a pack of another is not worth reading
	deep  bool // to be read whole
	since int64
}

// choose says which packs are read whole, and in which order: those noted as damaged first, then those that this machine
// read longest ago. Of packs that are all the same to it, chance decides, or a share of them would always be the same.
// Packs that are not read come first of all: it takes them little time to tell what is wrong.
func (c *checker) choose(all []due, s *sight) []due {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !c.opts.ReadPacks && !c.opts.ReadData {
		return all
	}
	c.log = openScrubLog(c.repo, s.packs)
	total := int64(0)
	for i := range all {
		if d := &all[i]; d.whole {
			total += d.size
			if d.since = c.log.at(d.id, c.opts.ReadData); c.noted[d.id] {
				d.since = -1
			}
		}
	}
	slices.SortStableFunc(all, func(a, b due) int { return cmp.Compare(a.since, b.since) })
	share := total
	if c.opts.Sample > 0 && c.opts.Sample < 1 {
		share = int64(c.opts.Sample * float64(total))
	}
	recent := int64(1)<<62 - 1
	if c.opts.Since > 0 {
		recent = c.repo.now().Add(-c.opts.Since).Unix()
	}
	for i := range all {
		switch d := &all[i]; {
		case !d.whole:
		case d.since > recent:
			c.report.Recent++
		case share > 0:
			d.deep = true
			share -= d.size
			c.progress.Expect(d.size)
		}
	}
	slices.SortStableFunc(all, func(a, b due) int {
		switch {
		case a.deep == b.deep:
			return 0
		case a.deep:
			return 1
		}
		return -1
	})
	return all
}

// opens reports whether the frames of a pack that is read are opened. Those noted as damaged are, always: that a pack is
// what it was when it was written does not prove that it was right then.
func (c *checker) opens(id pack.FileID) bool { return c.opts.ReadData || c.noted[id] }

// readWell notes that a pack was read whole and matches its name.
func (c *checker) readWell(id pack.FileID) {
	c.mu.Lock()
	bad := c.damagedPacks[id]
	if !bad && c.opens(id) {
		c.proved[id] = true
	}
	c.mu.Unlock()
	if !bad {
		c.log.add(id, c.opens(id))
	}
}

// A reading says when a pack was last read whole and found good, and when its chunks were proved too: in seconds since
// 1970, 0 for never.
type reading struct{ read, opened int64 }

const (
	scrubName  = "scrub"
	scrubMagic = "platterS"
	scrubEntry = 32 + 8 + 8
	scrubSaved = 30 * time.Second // how often a log is written
)

// A scrubLog is when this machine read which packs. It lies in a file (see Remember) of entries: a pack's id, and as i64
// when it was read, and when it was opened too. A nil log remembers nothing.
type scrubLog struct {
	repo  *Repo
	there map[pack.FileID]int64 // packs in the repository
	old   map[pack.FileID]reading

	mu    sync.Mutex
	fresh map[pack.FileID]reading // not in the file yet
	bad   map[pack.FileID]bool    // packs that were good when they were last read
	saved time.Time
	err   error // of the last time it was written
}

func openScrubLog(r *Repo, there map[pack.FileID]int64) *scrubLog {
	l := &scrubLog{repo: r, there: there, fresh: map[pack.FileID]reading{}, bad: map[pack.FileID]bool{}, saved: r.now()}
	l.old = l.load()
	return l
}

// load reads the file. What claims to be from the future is from a clock that was wrong, and counts as never.
func (l *scrubLog) load() map[pack.FileID]reading {
	data, now := l.repo.Recall(scrubName, scrubMagic), l.repo.now().Unix()
	entries := make(map[pack.FileID]reading, len(data)/scrubEntry)
	sane := func(p []byte) int64 {
		if t := int64(binary.LittleEndian.Uint64(p)); t > 0 && t <= now {
			return t
		}
		return 0
	}
	for ; len(data) >= scrubEntry; data = data[scrubEntry:] {
		entries[pack.FileID(data[:32])] = reading{sane(data[32:]), sane(data[40:])}
	}
	return entries
}

// at returns when a pack was last read, or opened.
func (l *scrubLog) at(id pack.FileID, opened bool) int64 {
	if opened {
		return l.old[id].opened
	}
	return l.old[id].read
}

// add notes that a pack was read just now.
func (l *scrubLog) add(id pack.FileID, opened bool) {
	if l == nil {
		return
	}
	now := l.repo.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := reading{read: now.Unix()}
	if opened {
		entry.opened = entry.read
	}
	if l.fresh[id] = entry; now.Sub(l.saved) >= scrubSaved {
		l.write()
		l.saved = now
	}
}

// spoil notes that a pack is not good any more.
func (l *scrubLog) spoil(id pack.FileID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad[id] = true
}

// save writes what was noted, also when the check has not come to its end.
func (l *scrubLog) save() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fresh)+len(l.bad) > 0 {
		l.write()
	}
}

// write puts what was noted to what the file says now, which another check may have written meanwhile. Packs that are gone
// are dropped; one that this check does not know may be newer than it.
func (l *scrubLog) write() {
	if !l.repo.Remembers() {
		return
	}
	entries := l.load()
	for id := range entries {
		_, there := l.there[id]
		if _, known := l.old[id]; known && !there || l.bad[id] {
			delete(entries, id)
		}
	}
	for id, r := range l.fresh {
		entries[id] = reading{max(r.read, entries[id].read), max(r.opened, entries[id].opened)}
	}
	data := make([]byte, 0, len(entries)*scrubEntry)
	for id, r := range entries {
		data = append(data, id[:]...)
		data = binary.LittleEndian.AppendUint64(data, uint64(r.read))
		data = binary.LittleEndian.AppendUint64(data, uint64(r.opened))
	}
	l.err = l.repo.Remember(scrubName, scrubMagic, data)
}
