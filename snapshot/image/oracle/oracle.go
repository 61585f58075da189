// Package oracle runs the programs of others that tests compare platter with, and makes the devices that such programs
// work on.
package oracle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Lacking skips a test that needs something this machine does not have. If CI is set, it fails the test instead.
func Lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Path finds a program, also in Debian's folders for administrators. Without it, the test is Lacking.
func Path(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	Lacking(t, "no %s; scripts/deps.sh installs it", name)
	return ""
}

// Command returns a command that Output runs.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(Path(t, name), args...)
}

// Output runs a command, which must succeed, and returns its standard output without white space around it.
func Output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// Run runs a program, which must succeed, and returns its Output.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return Output(t, Command(t, name, args...))
}

// Feed is Run with standard input.
func Feed(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	cmd := Command(t, name, args...)
	cmd.Stdin = strings.NewReader(input)
	return Output(t, cmd)
}

// Loop returns the node of a loop device over a file or a device, until the test ends. args are further arguments of
// losetup. Without root, the test is Lacking.
func Loop(t testing.TB, path string, args ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		Lacking(t, "only root can set up loop devices")
	}
	out, err := Command(t, "losetup", append([]string{"--find", "--show", path}, args...)...).CombinedOutput()
	if err != nil {
		Lacking(t, "losetup: %v: %s", err, out)
	}
	node := strings.TrimSpace(string(out))
	t.Cleanup(func() { Run(t, "losetup", "--detach", node) })
	return node
}

// Blank makes a file of zeros of size bytes, which takes no space, and returns its path.
func Blank(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}
