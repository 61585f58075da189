package overlay

import (
	"fmt"
	"io/fs"
	"iter"
)

// Sync makes durable what every completed WriteAt and Zero changed, whichever goroutine called it. After an error the
// changes are still there, and are not durable. If the system failed to write them, all later calls fail too.
func (d *Disk) Sync() error {
	want := d.begun.Load() + 1 // a sync that begins from now on is enough
	d.syncing.Lock()
	defer d.syncing.Unlock()
	if d.closed {
		return fmt.Errorf("sync the overlay: %w", fs.ErrClosed)
	}
	if d.ended >= want {
		return d.outcome
	}
	number := d.begun.Add(1)
	d.outcome = d.sync()
	d.ended = number
	return d.outcome
}

// A change is what one sync makes durable.
type change struct {
	runs  runs // in place of what the map in the journal says
	freed []run
	whole *runs // the whole map, for a new journal; nil if the journal has room
}

// sync makes the blocks durable, then the map. Only then it frees the units that the old map refers to.
func (d *Disk) sync() error {
	if d.file.failed != nil {
		return d.file.failed
	}
	c := d.take()
	if err := d.commit(c); err != nil {
		d.putBack(c)
		return err
	}
	d.release(c.freed)
	return nil
}

// take returns what is not durable, as it is now.
func (d *Disk) take() *change {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &change{runs: d.changed, freed: d.freed}
	d.changed, d.freed, d.freedN = runs{}, nil, 0
	if j := d.journal; j != nil && pagesFor(c.runs.count()) > j.len-j.next {
		whole := d.blocks.clone()
		c.whole = &whole
	}
	return c
}

// commit makes a change durable.
func (d *Disk) commit(c *change) error {
	if d.journal == nil {
		return nil
	}
	if c.whole != nil {
		return d.newJournal(c)
	}
	if d.wrote.Swap(false) {
		if err := d.file.Sync(); err != nil {
			return err
		}
	}
	if len(c.runs.leaves) == 0 {
		return nil
	}
	return d.journal.append(d.file, c.runs.all())
}

// newJournal writes the whole map into a new journal, and has the header refer to it.
func (d *Disk) newJournal(c *change) error {
	old := d.journal
	d.wrote.Store(false) // the sync in fill also covers the blocks
	j, err := d.largerJournal(c.whole)
	if j == nil && err == nil {
		j = &journal{header: old.header}
		j.at, j.spare = old.spare, old.at
		err = j.fill(d.file, c.whole)
	}
	if err != nil {
		d.wrote.Store(true)
		return err
	}
	// After an error here either journal may count, so neither is released.
	if err := writeHeader(d.file, &j.header); err != nil {
		return err
	}
	if j.len != old.len {
		c.freed = append(c.freed, run{0, old.len, old.at}, run{0, old.len, old.spare})
	}
	d.journal = j
	return nil
}

// largerJournal begins a journal in new units if the spare is small for the map. It returns nil if the spare will do.
func (d *Disk) largerJournal(whole *runs) (*journal, error) {
	pages := pagesFor(whole.count())
	if 2*pages <= d.journal.len {
		return nil, nil
	}
	j := &journal{header: d.journal.header}
	j.len = 4 * pages
	d.mu.Lock()
	j.at = d.units.takeEnd(2 * j.len)
	d.mu.Unlock()
	j.spare = j.at + j.len
	err := writeZeros(d.file, j.spare, j.len)
	if err == nil {
		err = j.fill(d.file, whole)
	}
	if err == nil {
		return j, nil
	}
	d.release([]run{{0, 2 * j.len, j.at}}) // no header refers to it
	if d.file.failed == nil && pages < d.journal.len {
		return nil, nil
	}
	return nil, err
}

// putBack notes that a change did not become durable.
func (d *Disk) putBack(c *change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.changed.all() {
		c.runs.set(r) // newer
	}
	d.changed = c.runs
	d.freed = append(c.freed, d.freed...)
	for _, r := range c.freed {
		d.freedN += r.n
	}
}

// release makes units free that neither the map nor the durable map refers to. It waits for reads that may use them.
func (d *Disk) release(freed []run) {
	if len(freed) == 0 {
		return
	}
	for r := range inFileOrder(freed) {
		d.file.Punch(r.unit*unit, r.n*unit)
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range freed {
		d.units.give(r.unit, r.n)
	}
}

// inFileOrder yields runs by their units, and joins neighbours.
func inFileOrder(freed []run) iter.Seq[run] {
	var joined runs
	for _, r := range freed {
		joined.set(run{r.unit, r.n, r.unit})
	}
	return joined.all()
}
