package virtual

// qcowOwnMax is the number of clusters checked at a time, with one bit each: 32 MiB.
const qcowOwnMax = 1 << 28

// checkOwn checks the entries that claim sole use of their cluster. If two of them have the same cluster, one
// overwrote the other. Clusters without that bit may be shared; the refcounts say how often, and readers need not
// know. Tables of snapshots do not maintain the bit.
func (q *qcow2) checkOwn() error {
	clusters := q.fileSize>>q.bits + 1
	for first := int64(0); first < clusters; first += qcowOwnMax {
		n := min(qcowOwnMax, clusters-first)
		if err := q.ownOf(first, n, make([]uint64, n/64+1)); err != nil {
			return err
		}
	}
	return nil
}

// ownOf does it for n clusters of the file. It skips other faults; readers report them.
func (q *qcow2) ownOf(first, n int64, taken []uint64) error {
	take := func(entry uint64) error {
		host := int64(entry & qcowOffset)
		at := host>>q.bits - first
		if entry&qcowOwn == 0 || host == 0 || at < 0 || at >= n {
			return nil
		}
		bit := uint64(1) << (at % 64)
		if taken[at/64]&bit != 0 {
			return q.damaged("its cluster at byte %d belongs to two places of the disk, so one of them is wrong", host)
		}
		taken[at/64] |= bit
		return nil
	}
	c := q.cursor()
	tables := int64(0)
	for off := int64(0); off < q.size; {
		l1, err := c.word(&c.l1Page, q.l1+8*(off>>q.tableBits()))
		if err != nil {
			return err
		}
		end := min((off>>q.tableBits()+1)<<q.tableBits(), q.size)
		table := int64(l1 & qcowOffset)
		if table == 0 || table&(q.cluster()-1) != 0 || table > q.fileSize-q.cluster() {
			off = end
			continue
		}
		if tables++; tables > q.fileSize>>q.bits { // the same table repeatedly
			return nil
		}
		if err := take(l1); err != nil {
			return err
		}
		for at := table; off < end; off, at = off+q.cluster(), at+1<<q.entryBits() {
			entry, err := c.word(&c.l2Page, at)
			if err != nil {
				return err
			}
			if entry&qcowPackedBit == 0 {
				if err := take(entry); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
