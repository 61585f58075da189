// Command slowest reads what go test -json writes, prints what go test without -json would print, and then the ten slowest tests.
// It prints the output of failed tests only. A test counts as long as its longest subtest if that is longer than the test:
// go test does not count parallel subtests as time of their parent. The exit code of go test remains the caller's concern (set -o pipefail).
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const listed = 10

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

type test struct {
	pkg, name string
	seconds   float64
}

// state is what is known of unfinished tests, by package and top-level test.
type state struct {
	held    map[string]*strings.Builder // output
	longest map[string]float64          // seconds of the longest subtest
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "slowest:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var tests []test
	s := state{held: map[string]*strings.Builder{}, longest: map[string]float64{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				e = event{Action: "output", Output: line} // go itself speaks plain text
			}
			if t, ok := s.apply(e, out); ok {
				tests = append(tests, t)
			}
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	slices.SortFunc(tests, func(a, b test) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintf(out, "\nthe slowest of %d tests:\n", len(tests))
	for _, t := range tests[:min(listed, len(tests))] {
		fmt.Fprintf(out, "%8.1f s  %s %s\n", t.seconds, t.pkg, t.name)
	}
	return nil
}

// apply prints what can be printed after e, and returns the top-level test that e ends.
func (s *state) apply(e event, out io.Writer) (t test, ended bool) {
	held := s.held
	name, _, isSub := strings.Cut(e.Test, "/")
	key := e.Package + " " + name
	switch {
	case e.Action == "build-output" || e.Action == "output" && e.Test == "":
		if e.Output != "PASS\n" {
			fmt.Fprint(out, e.Output)
		}
	case e.Action == "output":
		if strings.HasPrefix(e.Output, "=== ") {
			break
		}
		if held[key] == nil {
			held[key] = new(strings.Builder)
		}
		held[key].WriteString(e.Output)
	case e.Action == "fail" && e.Test == "":
		// A test that panics or runs out of time has no end of its own.
		for other, b := range held {
			if strings.HasPrefix(other, key) {
				fmt.Fprint(out, b)
				delete(held, other)
			}
		}
	case e.Test == "" || e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
	case isSub:
		s.longest[key] = max(s.longest[key], e.Elapsed)
	default:
		if b := held[key]; b != nil && e.Action == "fail" {
			fmt.Fprint(out, b)
		}
		delete(held, key)
		return test{e.Package, name, max(e.Elapsed, s.longest[key])}, true
	}
	return test{}, false
}
