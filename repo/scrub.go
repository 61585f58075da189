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
	whole bool // it has the length that the index says; otherwise it is not worth reading
	deep  bool // to be read whole
	since int64
}

// choose decides which packs are read whole, and in which order. First come those noted as damaged, then those that
// this machine read longest ago. The order of equal packs is random, or else a share of them would always be the same
// ones. Packs that are not read come before all others, because their faults show quickly.
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

// opens reports whether to open the frames of a pack that is read. Those noted as damaged are always opened: a pack may
// match its name although it was written wrong.
func (c *checker) opens(id pack.FileID) bool { return c.opts.ReadData || c.noted[id] }

// readWell records that a pack was read whole and matches its name.
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

// A reading says when a pack was last read whole and found good, and when its chunks were last verified, too. Both are
// in seconds since 1970, 0 for never.
type reading struct{ read, opened int64 }

const (
	scrubName  = "scrub"
	scrubMagic = "platterS"
	scrubEntry = 32 + 8 + 8
	scrubSaved = 30 * time.Second // interval between writes of a log
)

// A scrubLog records when this machine read which packs. It is kept in a file (see Remember) of entries: a pack's ID,
// and as i64 when it was read and when it was opened. A nil log records nothing.
type scrubLog struct {
	repo  *Repo
	there map[pack.FileID]int64 // packs in the repository, with their sizes
	old   map[pack.FileID]reading

	mu    sync.Mutex
	fresh map[pack.FileID]reading // not in the file yet
	bad   map[pack.FileID]bool    // packs that turned out damaged
	saved time.Time
	err   error // of the last write
}

func openScrubLog(r *Repo, there map[pack.FileID]int64) *scrubLog {
	l := &scrubLog{repo: r, there: there, fresh: map[pack.FileID]reading{}, bad: map[pack.FileID]bool{}, saved: r.now()}
	l.old = l.load()
	return l
}

// load reads the file. A time in the future comes from a wrong clock and counts as never.
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

// at returns when a pack was last read, or last opened.
func (l *scrubLog) at(id pack.FileID, opened bool) int64 {
	if opened {
		return l.old[id].opened
	}
	return l.old[id].read
}

// add records that a pack was read just now.
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

// spoil records that a pack is no longer good.
func (l *scrubLog) spoil(id pack.FileID) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad[id] = true
}

// save writes the new records, even if the check did not finish.
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

// write adds the new records to the current content of the file, which another check may have changed meanwhile. It
// drops packs that are missing. It keeps a pack unknown to this check, because the pack may be newer.
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
