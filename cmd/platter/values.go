package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"platter/pack"
	"platter/repo/crypt"
	"platter/snapshot"
)

// A byteSize is a flag value such as 64K, 64KiB or 65536.
type byteSize int64

func (b *byteSize) String() string { return strings.ReplaceAll(humanize.IBytes(uint64(*b)), " ", "") }

// Set reads a size. K, M, G and T alone mean powers of 1024, as disks' users expect; KB and so on are powers of 1000.
func (b *byteSize) Set(s string) error {
	text := s
	if n := len(s); n > 0 && strings.ContainsRune("kKmMgGtT", rune(s[n-1])) {
		text += "iB"
	}
	v, err := humanize.ParseBytes(text)
	if err != nil || v > 1<<62 {
		return fmt.Errorf("%q is not a size such as 64K or 32M", s)
	}
	*b = byteSize(v)
	return nil
}

// A diskSize is a byteSize that a disk can have.
type diskSize int64

func (d *diskSize) String() string { return (*byteSize)(d).String() }

// Set reads a size.
func (d *diskSize) Set(s string) error {
	if err := (*byteSize)(d).Set(s); err != nil {
		return err
	}
	if *d == 0 {
		return errors.New("a disk must have more than 0 bytes")
	}
	return nil
}

// A compression is a flag value: how hard to compress.
type compression pack.Compression

func (c *compression) String() string { return pack.Compression(*c).String() }

// Set reads a compression's name.
func (c *compression) Set(s string) error {
	v, err := pack.ParseCompression(s)
	*c = compression(v)
	return err
}

// A percentage is a flag value such as 5% or 0.05, more than 0 and at most 1.
type percentage float64

func (p *percentage) String() string { return strconv.FormatFloat(100*float64(*p), 'g', -1, 64) + "%" }

// Set reads a share.
func (p *percentage) Set(s string) error {
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= 1) {
		return fmt.Errorf("%q is not a share such as 5%%", s)
	}
	*p = percentage(v)
	return nil
}

// A parityShare is a flag value such as 3% or "off", in thousandths.
type parityShare int

// parityOff is the value of "off"; 0 means that the flag was not given.
const parityOff = parityShare(-1)

func (p *parityShare) String() string {
	if *p <= 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(*p)/10, 'g', -1, 64) + "%"
}

// Set reads a share of at least 0.1%, "off" or 0.
func (p *parityShare) Set(s string) error {
	if s == "off" || s == "0" || s == "0%" {
		*p = parityOff
		return nil
	}
	var share percentage
	if share.Set(s) != nil || share < 0.001 {
		return fmt.Errorf("%q is not a share of parity such as 3%%: give 0.1%% to 100%%, or off", s)
	}
	*p = parityShare(math.Round(1000 * float64(share)))
	return nil
}

// A keepCount is a flag value: how many to keep, a number or "all".
type keepCount int

func (k *keepCount) String() string {
	switch *k {
	case 0:
		return "" // no such rule, so no default to show
	case snapshot.All:
		return "all"
	}
	return strconv.Itoa(int(*k))
}

// Set reads a number or "all".
func (k *keepCount) Set(s string) error {
	if s == "all" {
		*k = snapshot.All
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is neither a number nor 'all'", s)
	}
	*k = keepCount(n)
	return nil
}

// A span is a flag value such as 14d or 1y6m.
type span snapshot.Span

func (p *span) String() string { return snapshot.Span(*p).String() }

// Set reads a length of time.
func (p *span) Set(s string) error {
	v, err := snapshot.ParseSpan(s)
	*p = span(v)
	return err
}

// A share is a percentage that may be 0.
type share float64

func (s *share) String() string { return (*percentage)(s).String() }

// Set reads a share.
func (s *share) Set(text string) error {
	if strings.Trim(text, "0.%") == "" && strings.Contains(text, "0") {
		*s = 0
		return nil
	}
	return (*percentage)(s).Set(text)
}

// timeLayouts are the formats of a time in a flag; without a zone it is local.
var timeLayouts = []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

// parseTime reads a time as --time takes it.
func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--time %q: give a time such as %q", s, time.DateTime)
}

// costOptions set the cost of each attempt at a password.
type costOptions struct {
	memory byteSize
	passes uint
	lanes  uint
}

func costFlags(o *costOptions) []cli.Flag {
	d := crypt.DefaultCost
	*o = costOptions{byteSize(d.Memory) << 10, uint(d.Time), uint(d.Lanes)}
	const category = "Cost of each attempt at a password (Argon2id):"
	return []cli.Flag{
		&cli.GenericFlag{Name: "kdf-memory", Usage: "`SIZE` of memory, also needed to open the repository", Value: &o.memory, Category: category},
		&cli.UintFlag{Name: "kdf-passes", Usage: "`N` passes over that memory", Value: o.passes, Destination: &o.passes, Category: category},
		&cli.UintFlag{Name: "kdf-lanes", Usage: "`N` lanes, which can run in parallel", Value: o.lanes, Destination: &o.lanes, Category: category},
	}
}

// cost returns the cost by the flags. It turns values out of range into ones that Validate refuses.
func (o costOptions) cost() crypt.Cost {
	c := crypt.Cost{}
	if kib := o.memory >> 10; kib < 1<<32 {
		c.Memory = uint32(kib)
	}
	if uint64(o.passes) < 1<<32 {
		c.Time = uint32(o.passes)
	}
	if o.lanes < 1<<8 {
		c.Lanes = uint8(o.lanes)
	}
	return c
}
