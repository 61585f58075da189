// Command words looks for the slips of list.go in the text and the names of this repository, and prints each with what to write
// instead. It exits with 1 if there is one. docs/glossary.md has the words to use.
package main

import (
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

func main() {
	if err := run(os.Stdout, "."); err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(1)
	}
}

var errSlips = errors.New("see docs/glossary.md; exceptions and patterns are in scripts/words/list.go")

// run checks the files below root that git knows or would add. It returns errSlips if there are slips.
func run(out io.Writer, root string) error {
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	c := newChecker()
	paths := strings.FieldsFunc(string(names), func(r rune) bool { return r == 0 })
	found := make([][]string, len(paths))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		if strings.HasPrefix(path, "scripts/words/") {
			continue
		}
		g.Go(func() error {
			data, err := os.ReadFile(filepath.Join(root, path))
			if errors.Is(err, os.ErrNotExist) { // deleted, and git does not know yet
				return nil
			}
			found[i] = c.file(path, data)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	all := slices.Concat(found...)
	for _, line := range all {
		fmt.Fprintln(out, line)
	}
	if len(all) > 0 {
		return errSlips
	}
	return nil
}

// A checker has the lists, compiled.
type checker struct {
	text, names []rule
	any         *regexp.Regexp // any of text: one search is faster than many
}

type rule struct {
	slip
	match, except *regexp.Regexp // except may be nil
}

func newChecker() *checker {
	c := new(checker)
	var all []string
	for _, s := range inText {
		spaced := `\b(?:` + strings.ReplaceAll(s.pattern, " ", `\s+`) + `)\b`
		c.text, all = append(c.text, compile(s, spaced)), append(all, spaced)
	}
	for _, s := range inNames {
		c.names = append(c.names, compile(s, s.pattern))
	}
	c.any = regexp.MustCompile(`(?i)` + strings.Join(all, "|"))
	return c
}

func compile(s slip, pattern string) rule {
	r := rule{slip: s, match: regexp.MustCompile(`(?i)` + pattern)}
	if s.except != "" {
		r.except = regexp.MustCompile(s.except)
	}
	return r
}

// file returns one line for each slip in a file.
func (c *checker) file(path string, data []byte) (found []string) {
	switch filepath.Ext(path) {
	case ".go":
		return c.goFile(path, data)
	case ".md", ".txtar", ".sh":
		return c.search(path, string(data), func(at int) int { return 1 + strings.Count(string(data[:at]), "\n") })
	}
	return nil
}

// search returns one line for each slip in a text. lineAt maps an offset to a line of the file.
func (c *checker) search(path, text string, lineAt func(int) int) (found []string) {
	if !c.any.MatchString(text) {
		return nil
	}
	for _, r := range c.text {
		for _, at := range r.match.FindAllStringIndex(text, -1) {
			hit := text[at[0]:at[1]]
			around := text[max(0, at[0]-24):at[0]] + "<" + hit + ">" + text[at[1]:min(len(text), at[1]+24)]
			if r.except == nil || !r.except.MatchString(path+": "+oneLine(around)) {
				found = append(found, r.line(path, lineAt(at[0]), hit))
			}
		}
	}
	return found
}

func (r rule) line(path string, line int, text string) string {
	return fmt.Sprintf("%s:%d: %q: write %s", path, line, oneLine(text), r.instead)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// goFile checks comments and strings as one text, in which no phrase runs from one string to the next, and then each name.
func (c *checker) goFile(path string, data []byte) (found []string) {
	var text strings.Builder
	var starts, lines []int // where each piece begins in text, and its line
	set := token.NewFileSet()
	file := set.AddFile(path, -1, len(data))
	var s scanner.Scanner
	s.Init(file, data, nil, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return append(found, c.search(path, text.String(), func(at int) int {
				i, _ := slices.BinarySearch(starts, at+1)
				return lines[i-1] + strings.Count(text.String()[starts[i-1]:at], "\n")
			})...)
		case token.IDENT:
			for _, r := range c.names {
				if r.match.MatchString(lit) && (r.except == nil || !r.except.MatchString(path+": "+lit)) {
					found = append(found, r.line(path, file.Line(pos), lit))
				}
			}
		case token.COMMENT, token.STRING:
			starts, lines = append(starts, text.Len()), append(lines, file.Line(pos))
			if rest, ok := strings.CutPrefix(lit, "//"); ok {
				text.WriteString(rest + " ") // a phrase may run on in the next line
			} else {
				text.WriteString(lit + "\x00")
			}
		}
	}
}
