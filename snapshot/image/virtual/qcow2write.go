package virtual

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"

	"platter/chunk"
)

// What is written: version 3 in clusters of 64 KiB with refcounts of 16 bits, as qemu-img does.
const (
	qcowWriteBits    = 16
	qcowWriteCluster = 1 << qcowWriteBits
	qcowTableEntries = qcowWriteCluster / 8 // of an L2 table: 512 MiB of the disk
	qcowBlockEntries = qcowWriteCluster / 2 // of a block of refcounts
	qcowSector       = 512
)

func createQcow2(c *creation) (Writer, error) {
	if tables := (c.size-1)>>qcowWriteBits/qcowTableEntries + 1; c.size < 0 || tables > maxQcowL1/8 {
		return nil, fmt.Errorf("%w: a disk of %d bytes; the largest has 2 PiB", ErrUnsupported, c.size)
	}
	if c.Compress {
		return newQcowPacker(c)
	}
	return newQcowStream(c)
}

// qcowClusters returns how many clusters n bytes take.
func qcowClusters(n int64) int64 { return (n + qcowWriteCluster - 1) / qcowWriteCluster }

// qcowL1Len returns how many L2 tables a disk of size bytes has, allocated or not.
func qcowL1Len(size int64) int64 {
	return (qcowClusters(size) + qcowTableEntries - 1) / qcowTableEntries
}

// A qcowPlan says where in a file everything lies, in clusters.
type qcowPlan struct {
	size                      int64 // of the disk, in bytes
	l1, refTable, refTableLen int64
	total                     int64 // clusters of the file
	blocks                    int64 // of refcounts
}

// countRefs fills in how many clusters refcounts take beside others clusters, and the total. They count themselves.
func (p *qcowPlan) countRefs(others int64) {
	for before := int64(-1); p.total != before; {
		before = p.total
		p.blocks = (p.total + qcowBlockEntries - 1) / qcowBlockEntries
		p.refTableLen = qcowClusters(8 * p.blocks)
		p.total = others + p.refTableLen + p.blocks
	}
}

// header makes the first cluster. A disk ends with a sector, as QEMU has it: what would follow a part of one is not read
// otherwise.
func (p *qcowPlan) header() []byte {
	h := make([]byte, 0, qcowWriteCluster)
	u32 := func(v uint32) { h = binary.BigEndian.AppendUint32(h, v) }
	u64 := func(v int64) { h = binary.BigEndian.AppendUint64(h, uint64(v)) }
	h = append(h, qcow2Magic...)
	u32(3)
	u64(0) // no backing file
	u32(0)
	u32(qcowWriteBits)
	u64((p.size + qcowSector - 1) / qcowSector * qcowSector)
	u32(0) // not encrypted
	u32(uint32(qcowL1Len(p.size)))
	u64(p.l1 << qcowWriteBits)
	u64(p.refTable << qcowWriteBits)
	u32(uint32(p.refTableLen))
	u32(0) // no snapshots
	u64(0)
	u64(0) // incompatible features
	u64(0) // compatible features
	u64(0) // autoclear features
	u32(4) // 16 bits a refcount
	u32(qcowV3Len)
	return h[:qcowWriteCluster]
}

// A qcowTable is an L2 table to be: which of its clusters are written.
type qcowTable struct {
	index int64 // in L1
	used  [qcowTableEntries / 64]uint64
}

func (t *qcowTable) has(cluster int64) bool {
	i := cluster % qcowTableEntries
	return t.index == cluster/qcowTableEntries && t.used[i/64]>>(i%64)&1 != 0
}

// A qcowStream writes a disk to a stream: as it is known beforehand which clusters there will be, all tables go first.
type qcowStream struct {
	qcowPlan
	w      *bufio.Writer
	blank  []byte      // a cluster of zeros
	tables []qcowTable // 1 KiB for 512 MiB of the disk where there is data
	at     int64       // bytes of the disk so far
	table  int         // the first of tables that does not end before at
}

func newQcowStream(c *creation) (*qcowStream, error) {
	s := &qcowStream{qcowPlan: qcowPlan{size: c.size}, w: bufio.NewWriterSize(c.Writer, 4*qcowWriteCluster),
		blank: make([]byte, qcowWriteCluster)}
	clusters, err := s.plan(c)
	if err != nil {
		return nil, err
	}
	l1Len := qcowClusters(8 * qcowL1Len(s.size))
	s.countRefs(1 + l1Len + int64(len(s.tables)) + clusters)
	s.refTable, s.l1 = 1, 1+s.refTableLen+s.blocks
	if err := s.writeTables(l1Len); err != nil {
		return nil, err
	}
	return s, nil
}

// plan notes which clusters hold data, and returns how many.
func (s *qcowStream) plan(c *creation) (clusters int64, err error) {
	if c.Extents == nil {
		return 0, fmt.Errorf("%w: without knowing what of the disk is data", ErrUnsupported)
	}
	for e, err := range c.Extents() {
		switch {
		case err != nil:
			return 0, err
		case e.Off < 0 || e.Len < 0 || e.Len > s.size-e.Off:
			return 0, errors.New("an extent lies outside the disk")
		case e.Zero:
			continue
		}
		for cluster := e.Off / qcowWriteCluster; cluster < qcowClusters(e.Off+e.Len); cluster++ {
			index := cluster / qcowTableEntries
			if len(s.tables) == 0 || s.tables[len(s.tables)-1].index < index {
				s.tables = append(s.tables, qcowTable{index: index})
			}
			if t := &s.tables[len(s.tables)-1]; !t.has(cluster) {
				t.used[cluster%qcowTableEntries/64] |= 1 << (cluster % 64)
				clusters++
			}
		}
	}
	return clusters, nil
}

// words writes n numbers of size bytes, and zeros up to the end of the cluster.
func (s *qcowStream) words(size, n int64, word func(i int64) uint64) error {
	var b [8]byte
	for i := range n {
		binary.BigEndian.PutUint64(b[:], word(i)<<(64-8*size))
		if _, err := s.w.Write(b[:size]); err != nil {
			return err
		}
	}
	return s.zeros(-(n * size) & (qcowWriteCluster - 1))
}

func (s *qcowStream) zeros(n int64) error {
	for n > 0 {
		m, err := s.w.Write(s.blank[:min(n, qcowWriteCluster)])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// writeTables writes all that comes before the disk's bytes: header, table and blocks of refcounts, L1, L2.
func (s *qcowStream) writeTables(l1Len int64) error {
	if _, err := s.w.Write(s.header()); err != nil {
		return err
	}
	first := s.refTable + s.refTableLen
	err := s.words(8, s.blocks, func(i int64) uint64 { return uint64(first+i) << qcowWriteBits })
	if err == nil {
		err = s.words(2, s.total, func(int64) uint64 { return 1 })
	}
	if err != nil {
		return err
	}
	next, k := s.l1+l1Len, 0
	err = s.words(8, qcowL1Len(s.size), func(i int64) uint64 {
		if k == len(s.tables) || s.tables[k].index != i {
			return 0
		}
		k++
		return qcowOwn | uint64(next+int64(k)-1)<<qcowWriteBits
	})
	next += int64(len(s.tables))
	for i := 0; err == nil && i < len(s.tables); i++ {
		t := &s.tables[i]
		err = s.words(8, qcowTableEntries, func(i int64) uint64 {
			if t.used[i/64]>>(i%64)&1 == 0 {
				return 0
			}
			next++
			return qcowOwn | uint64(next-1)<<qcowWriteBits
		})
	}
	return err
}

// ahead returns whether the cluster at s.at is written, and how many of the next n bytes, 1 at least, are like it. Those
// have to be taken before it is called again.
func (s *qcowStream) ahead(n int64) (written bool, same int64) {
	for cluster := s.at / qcowWriteCluster; same < n; {
		index := cluster / qcowTableEntries
		for s.table < len(s.tables) && s.tables[s.table].index < index {
			s.table++
		}
		has, next := false, qcowClusters(s.size)
		if s.table < len(s.tables) {
			t := &s.tables[s.table]
			if has, next = t.has(cluster), cluster+1; t.index > index {
				next = t.index * qcowTableEntries
			}
		}
		if same > 0 && has != written {
			return written, same
		}
		written, same, cluster = has, next*qcowWriteCluster-s.at, next
	}
	return written, n
}

// Write takes the next bytes of the disk.
func (s *qcowStream) Write(p []byte) (n int, err error) {
	if int64(len(p)) > s.size-s.at {
		return 0, errors.New("more bytes than the disk has")
	}
	for n < len(p) {
		written, same := s.ahead(int64(len(p) - n))
		q := p[n : n+int(same)]
		if !written && !chunk.IsZero(q) {
			return n, fmt.Errorf("there is data at byte %d of the disk or after it, and its extents said zeros", s.at)
		}
		if written {
			if _, err := s.w.Write(q); err != nil {
				return n, err
			}
		}
		n, s.at = n+len(q), s.at+same
	}
	return n, nil
}

// Skip says that the next n bytes are zeros. They are written where there is a place for them.
func (s *qcowStream) Skip(n int64) error {
	if n < 0 || n > s.size-s.at {
		return errors.New("more bytes than the disk has")
	}
	for n > 0 {
		written, same := s.ahead(n)
		if written {
			if err := s.zeros(same); err != nil {
				return err
			}
		}
		n, s.at = n-same, s.at+same
	}
	return nil
}

// Close ends the file.
func (s *qcowStream) Close() error {
	if s.at != s.size {
		return fmt.Errorf("%d bytes of the disk were written of %d", s.at, s.size)
	}
	if last := s.size / qcowWriteCluster; len(s.tables) > 0 && s.size%qcowWriteCluster != 0 && s.tables[len(s.tables)-1].has(last) {
		if err := s.zeros(qcowWriteCluster - s.size%qcowWriteCluster); err != nil {
			return err
		}
	}
	return s.w.Flush()
}
