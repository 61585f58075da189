package virtual

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"

	"platter/chunk"
)

// The output is version 3 in clusters of 64 KiB with 16-bit refcounts, as qemu-img writes it.
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

// qcowClusters returns the number of clusters for n bytes.
func qcowClusters(n int64) int64 { return (n + qcowWriteCluster - 1) / qcowWriteCluster }

// qcowL1Len returns the number of L2 tables of a disk of size bytes, allocated or not.
func qcowL1Len(size int64) int64 {
	return (qcowClusters(size) + qcowTableEntries - 1) / qcowTableEntries
}

// A qcowLayout is the layout of a file, in clusters.
type qcowLayout struct {
	size                      int64 // of the disk, in bytes
	l1, refTable, refTableLen int64
	total                     int64 // clusters of the file
	blocks                    int64 // of refcounts
}

// countRefs computes the clusters for refcounts beside others clusters, and the total. Refcounts count themselves
// too.
func (p *qcowLayout) countRefs(others int64) {
	for before := int64(-1); p.total != before; {
		before = p.total
		p.blocks = (p.total + qcowBlockEntries - 1) / qcowBlockEntries
		p.refTableLen = qcowClusters(8 * p.blocks)
		p.total = others + p.refTableLen + p.blocks
	}
}

// header returns the first cluster. It rounds the disk up to whole sectors, because QEMU does not read a partial one.
func (p *qcowLayout) header() []byte {
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

// A qcowTable is a future L2 table: a bit for each cluster that will be written.
type qcowTable struct {
	index int64 // in L1
	used  [qcowTableEntries / 64]uint64
}

func (t *qcowTable) has(cluster int64) bool {
	i := cluster % qcowTableEntries
	return t.index == cluster/qcowTableEntries && t.used[i/64]>>(i%64)&1 != 0
}

// A qcowStream writes a disk to a stream. All clusters are known in advance, so the tables come first.
type qcowStream struct {
	qcowLayout
	w      *bufio.Writer
	blank  []byte      // a cluster of zeros
	tables []qcowTable // 1 KiB for 512 MiB of the disk where there is data
	at     int64       // bytes of the disk so far
	table  int         // the first table that ends after at
}

func newQcowStream(c *creation) (*qcowStream, error) {
	s := &qcowStream{
		qcowLayout: qcowLayout{size: c.size}, w: bufio.NewWriterSize(c.Writer, 4*qcowWriteCluster),
		blank: make([]byte, qcowWriteCluster),
	}
	clusters, err := s.layOut(c)
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

// layOut records which clusters hold data, and returns their number.
func (s *qcowStream) layOut(c *creation) (clusters int64, err error) {
	if c.Extents == nil {
		return 0, fmt.Errorf("%w: a stream needs the disk's extents", ErrUnsupported)
	}
	for e, err := range c.Extents() {
		switch {
		case err != nil:
			return 0, err
		case e.Off < 0 || e.Len < 0 || e.Len > s.size-e.Off:
			return 0, errors.New("an extent is outside the disk")
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

// words writes n numbers of size bytes, padded with zeros to a whole cluster.
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

// writeTables writes everything before the disk's bytes: header, refcount table and blocks, L1, L2.
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

// ahead returns whether the cluster at s.at is written, and how many of the next n bytes, at least 1, are alike in
// that. The caller must consume those before the next call.
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

// Write writes the next bytes of the disk.
func (s *qcowStream) Write(p []byte) (n int, err error) {
	if int64(len(p)) > s.size-s.at {
		return 0, errors.New("write past the end of the disk")
	}
	for n < len(p) {
		written, same := s.ahead(int64(len(p) - n))
		q := p[n : n+int(same)]
		if !written && !chunk.IsZero(q) {
			return n, fmt.Errorf("there is data at or after byte %d of the disk, where its extents say zeros", s.at)
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

// Skip writes n zeros. It stores them where their cluster is allocated.
func (s *qcowStream) Skip(n int64) error {
	if n < 0 || n > s.size-s.at {
		return errors.New("write past the end of the disk")
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

// Close completes the file.
func (s *qcowStream) Close() error {
	if s.at != s.size {
		return fmt.Errorf("only %d of %d bytes of the disk were written", s.at, s.size)
	}
	if last := s.size / qcowWriteCluster; len(s.tables) > 0 && s.size%qcowWriteCluster != 0 && s.tables[len(s.tables)-1].has(last) {
		if err := s.zeros(qcowWriteCluster - s.size%qcowWriteCluster); err != nil {
			return err
		}
	}
	return s.w.Flush()
}
