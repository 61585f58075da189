package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// A bar formats the progress of some work, in one line.
type bar struct {
	title string
	start time.Time // of the first line; zero before
	began int64     // bytes that were done then
	turns int
}

const (
	titleCells = 32 // at most, where there is room for them
	barCells   = 24
)

// line is the bar at a moment, in at most room cells. total is 0 while it is unknown, and may grow. If there is not enough room,
// the least useful parts are left out.
func (b *bar) line(now time.Time, done, total int64, room int) string {
	if b.start.IsZero() {
		b.start, b.began = now, done
	}
	b.turns++
	share := string(`|/-\`[b.turns%4])
	of, gauge := size(done), ""
	if total > 0 {
		percent := int(min(99, float64(done)/float64(total)*100)) // not 100: the total may grow yet
		share = fmt.Sprintf("%2d%%", percent)
		of += " of " + size(total)
		full := percent * barCells / 100
		gauge = "[" + strings.Repeat("=", full) + ">" + strings.Repeat(" ", barCells-1-full) + "]"
	}
	rate, left := b.speed(now, done, total)

	// Everything first, then fewer and fewer parts.
	for _, parts := range [][]string{
		{share, gauge, of, rate, left},
		{share, of, rate, left},
		{share, of, left},
		{share, of},
		{share},
	} {
		words := joinWords(parts)
		if cells(words)+len(" ")+min(cells(b.title), titleCells) <= room {
			return joinWords([]string{cut(b.title, titleCells), words})
		}
	}
	if words := cells(share); words > room {
		return ""
	} else if short := cut(b.title, room-words-1); short != "" {
		return short + " " + share
	}
	return share
}

// speed formats the average rate, and the time left at that rate; "" for what is unknown.
func (b *bar) speed(now time.Time, done, total int64) (rate, left string) {
	took := now.Sub(b.start).Seconds()
	if took < 1 || done <= b.began {
		return "", ""
	}
	perSecond := float64(done-b.began) / took
	rate = size(int64(perSecond)) + "/s"
	if seconds := float64(total-done) / perSecond; total > done && seconds < 1e6 {
		left = duration(time.Duration(seconds+1)*time.Second) + " left"
	}
	return rate, left
}

func joinWords(parts []string) string {
	var words []string
	for _, part := range parts {
		if part != "" {
			words = append(words, part)
		}
	}
	return strings.Join(words, " ")
}

// cells is the largest number of terminal cells that a text may take. Terminals differ in characters that are wide only in East
// Asian fonts, and in sequences that some of them draw as one sign.
func cells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	const emojiFollows = '\ufe0f' // the sign before it may be drawn in two cells
	if r == emojiFollows {
		return 1
	}
	wide := runewidth.Condition{EastAsianWidth: true}
	return wide.RuneWidth(r)
}

// cut shortens a text to at most so many cells, and marks the cut with two dots if they fit.
func cut(s string, most int) string {
	const dots = ".."
	if cells(s) <= most {
		return s
	}
	room, mark := most-len(dots), dots
	if room <= 0 {
		room, mark = most, ""
	}
	n := 0
	for i, r := range s {
		if n += runeCells(r); n > room {
			return s[:i] + mark
		}
	}
	return s
}
