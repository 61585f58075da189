package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

const (
	qcowPageLen      = 16 << 10 // bytes of a file in which tables are read: entries for 128 MiB in clusters of 64 KiB
	qcowPagesKept    = 512
	qcowClustersKept = 16 // number of clusters kept for partial reads; at most 2 MiB each
)

// A qcowPlace is a place in one file of a chain.
type qcowPlace struct {
	file *qcow2
	off  int64
}

// qcowShared is shared by the files of a chain, so that a long chain uses no more memory than one file.
type qcowShared struct {
	chain    []os.FileInfo                 // backing files so far; only while the disk is being opened
	pages    *lru.Cache[qcowPlace, []byte] // of tables
	clusters *lru.Cache[qcowPlace, []byte] // decoded
	buffers  sync.Pool                     // *[]byte, for compressed bytes
	inflate  sync.Pool                     // io.ReadCloser that is a flate.Resetter
	zstd     func() (*zstd.Decoder, error) // made at the first use
}

func newQcowShared() (*qcowShared, error) {
	pages, err := lru.New[qcowPlace, []byte](qcowPagesKept)
	if err != nil {
		return nil, err
	}
	clusters, err := lru.New[qcowPlace, []byte](qcowClustersKept)
	if err != nil {
		return nil, err
	}
	s := &qcowShared{pages: pages, clusters: clusters}
	s.buffers.New = func() any { return new([]byte) }
	s.inflate.New = func() any { return flate.NewReader(bytes.NewReader(nil)) }
	s.zstd = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	})
	return s, nil
}

// page returns a part of the file with tables; it is short at the file's end.
func (q *qcow2) page(off int64) ([]byte, error) {
	if p, ok := q.shared.pages.Get(qcowPlace{q, off}); ok {
		return p, nil
	}
	p := make([]byte, min(qcowPageLen, q.fileSize-off))
	if n, err := q.file.ReadAt(p, off); n < len(p) {
		return nil, fmt.Errorf("read tables of %s: %w", q.path, err)
	}
	q.shared.pages.Add(qcowPlace{q, off}, p)
	return p, nil
}

// ReadAt reads at a byte offset; past the end it returns io.EOF.
func (q *qcow2) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read qcow2: negative offset")
	}
	if off >= q.size {
		return 0, io.EOF
	}
	whole := int64(len(p)) <= q.size-off
	if !whole {
		p = p[:q.size-off]
	}
	for c := q.cursor(); n < len(p); {
		at := off + int64(n)
		r, err := c.run(at, off+int64(len(p)))
		if err != nil {
			return n, err
		}
		if err := q.fill(p[n:n+int(r.len)], at, r); err != nil {
			return n, err
		}
		n += int(r.len)
	}
	if !whole {
		return n, io.EOF
	}
	return n, nil
}

// fill reads a run, which begins at off, into p.
func (q *qcow2) fill(p []byte, off int64, r qcowRun) error {
	n, err := 0, error(nil)
	switch r.kind {
	case qcowPacked:
		return q.fillPacked(p, off&(q.cluster()-1), r)
	case qcowData:
		n, err = q.file.ReadAt(p, r.host)
	case qcowBelow:
		if off < q.below.Size() {
			n, err = q.below.ReadAt(p, off)
		}
	}
	if err != nil && err != io.EOF {
		return err
	}
	clear(p[n:])
	return nil
}

// fillPacked reads a part of a compressed cluster, which begins at byte in of it.
func (q *qcow2) fillPacked(p []byte, in int64, r qcowRun) error {
	if int64(len(p)) == q.cluster() {
		return q.unpack(p, r)
	}
	place := qcowPlace{q, r.host}
	cluster, ok := q.shared.clusters.Get(place)
	if !ok {
		cluster = make([]byte, q.cluster())
		if err := q.unpack(cluster, r); err != nil {
			return err
		}
		q.shared.clusters.Add(place, cluster)
	}
	copy(p, cluster[in:])
	return nil
}

// unpack reads and decodes a compressed cluster.
func (q *qcow2) unpack(cluster []byte, r qcowRun) error {
	buffer := q.shared.buffers.Get().(*[]byte)
	defer q.shared.buffers.Put(buffer)
	if int64(cap(*buffer)) < r.packed {
		*buffer = make([]byte, r.packed)
	}
	packed := (*buffer)[:r.packed]
	if n, err := q.file.ReadAt(packed, r.host); n < len(packed) {
		return fmt.Errorf("read %s: %w", q.path, err)
	}
	decode := q.shared.inflateCluster
	if q.zstd {
		decode = q.shared.unzstdCluster
	}
	if err := decode(cluster, packed); err != nil {
		return q.damaged("the compressed cluster at byte %d of the file: %v", r.host, err)
	}
	return nil
}

// inflateCluster decodes raw deflate. What follows it in the same sector is another cluster's.
func (s *qcowShared) inflateCluster(cluster, packed []byte) error {
	z := s.inflate.Get().(io.ReadCloser)
	defer s.inflate.Put(z)
	if err := z.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return err
	}
	_, err := io.ReadFull(z, cluster)
	return err
}

// unzstdCluster decodes zstd frames until the cluster is full. What follows them in the same sector is another cluster's,
// and may well be the beginning of a frame.
func (s *qcowShared) unzstdCluster(cluster, packed []byte) error {
	z, err := s.zstd()
	if err != nil {
		return err
	}
	for out := cluster[:0:len(cluster)]; len(out) < len(cluster); {
		n, err := zstdFrameLen(packed)
		if err != nil {
			return err
		}
		if out, err = z.DecodeAll(packed[:n], out); err != nil {
			return err
		}
		if packed = packed[n:]; &out[:1][0] != &cluster[0] {
			return errors.New("it is longer than a cluster")
		}
	}
	return nil
}

// zstdFrameLen returns how many bytes the frame at the beginning of p has: a header, blocks with headers of 3 bytes (bit 0:
// the last; bits 1 and 2: kind; length), and a checksum.
func zstdFrameLen(p []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return 0, err
	}
	n := int64(h.HeaderSize) + int64(h.SkippableSize)
	for last := h.Skippable; !last; {
		if n+3 > int64(len(p)) {
			return 0, io.ErrUnexpectedEOF
		}
		block := uint32(p[n]) | uint32(p[n+1])<<8 | uint32(p[n+2])<<16
		last = block&1 != 0
		if n += 3; block>>1&3 == 1 { // one byte, repeated
			n++
		} else {
			n += int64(block >> 3)
		}
	}
	if h.HasCheckSum {
		n += 4
	}
	if n > int64(len(p)) {
		return 0, io.ErrUnexpectedEOF
	}
	return int(n), nil
}
