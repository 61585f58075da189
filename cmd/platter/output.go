package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// output is standard output, for text on a terminal; see raw. It keeps the first error, which main checks, so that commands need
// not check every Fprintf.
type output struct {
	w      io.Writer
	closed bool // it was when the program began
	mute   bool // and so was standard error: output is not wanted
	isDisk bool // the output is a disk
	err    error
}

// errClosedOutput says that results would go nowhere. Some programs open the null device in a way that looks the same, so the text
// says what to do.
var errClosedOutput = errors.New("write to standard output: it is closed (if you want no output, send it to the null device: >/dev/null)")

// forDisk marks the output as a disk. It returns an error if standard output is closed.
func (o *output) forDisk() error {
	o.isDisk = true
	if o.closed {
		return errClosedOutput
	}
	return nil
}

// unread reports whether err only says that the reader of a text stopped early, as head does: the exit code is enough then. For a
// disk, that is a failure like any other.
func (o *output) unread(err error) bool {
	return o.err != nil && errors.Is(err, o.err) && errors.Is(o.err, syscall.EPIPE) && !o.isDisk
}

// Write writes text, without characters that a terminal would obey.
func (o *output) Write(p []byte) (int, error) {
	if _, err := o.raw().Write([]byte(printable(string(p)))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// raw is the writer for the bytes of a disk.
func (o *output) raw() io.Writer { return (*rawOutput)(o) }

type rawOutput output

func (o *rawOutput) Write(p []byte) (int, error) {
	if o.err == nil && o.closed && !o.mute {
		o.err = errClosedOutput
	}
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		o.err = fmt.Errorf("write to standard output: %w", err)
	}
	return n, o.err
}

// info prints a message for the user to standard error; -q and --json silence it. Results go to e.stdout instead.
func (e *env) info(c common, format string, args ...any) {
	if !c.quiet && !c.json {
		fmt.Fprintf(e.stderr, "%s\n", printable(fmt.Sprintf(format, args...)))
	}
}

// detail is info with -v, and nothing without it.
func (e *env) detail(c common, format string, args ...any) {
	if c.verbose {
		e.info(c, format, args...)
	}
}

// warn reports a problem that does not end the command; no flag silences it. With --json, each warning is one JSON object on
// standard error.
func (e *env) warn(c common, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.json {
		e.complainJSON(map[string]string{"warning": text})
		return
	}
	fmt.Fprintf(e.stderr, "platter: warning: %s\n", printable(text))
}

// printable replaces characters that could move a terminal's cursor or are invisible. Line breaks and tabs stay.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.IsPrint(c) {
			return c
		}
		return '?'
	}, s)
}

// size formats a number of bytes: 1.2 GiB.
func size(bytes int64) string {
	if bytes < 0 {
		return "-" + humanize.IBytes(uint64(-bytes))
	}
	return humanize.IBytes(uint64(bytes))
}

// duration formats a duration to about three digits: 420ms, 3.2s, 1h2m3s.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < time.Minute:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return d.String()
}

// localTime formats a time in the local time zone.
func localTime(t time.Time) string { return t.Local().Format(time.DateTime) }

// shortID is the beginning of an ID, for display.
func shortID(id fmt.Stringer) string { return id.String()[:8] }

// A textTable has columns of text, two spaces apart.
type textTable struct{ table.Writer }

// newTable returns a table with these column names; ">" before a name aligns the column to the right, for numbers.
func newTable(columns ...string) textTable {
	t := textTable{table.NewWriter()}
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	var header table.Row
	var configs []table.ColumnConfig
	for i, name := range columns {
		name, right := strings.CutPrefix(name, ">")
		header = append(header, name)
		if right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(header)
	return t
}

// row appends a row. Line breaks in cells become spaces.
func (t textTable) row(cells ...string) {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = strings.Map(func(c rune) rune {
			if c == '\n' || c == '\t' {
				return ' '
			}
			return c
		}, printable(cell))
	}
	t.AppendRow(row)
}

// print prints the table.
func (t textTable) print(e *env) { fmt.Fprintln(e.stdout, t.Render()) }
