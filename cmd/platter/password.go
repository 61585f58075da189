package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/term"
)

// A passwordSource says where a password comes from, other than the terminal. The command line takes precedence: if it names a
// source, the variables are ignored.
type passwordSource struct {
	name    string // "password" or "new-password"; the names of flags and variables derive from it
	file    string // of the flag
	command string // of the flag
}

// variable is the environment variable that may hold the password.
func (s passwordSource) variable() string {
	return "PLATTER_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// maxPassword is the most that is read as a password, in bytes.
const maxPassword = 64 << 10

// password returns the password that opens a repository, from the first of: the command line, the environment, the terminal. It
// is never empty, and may have several readings; see readings.
func (e *env) password(ctx context.Context, from passwordSource) ([]byte, error) {
	p, err := e.givenPassword(ctx, from)
	if err != nil || p != nil {
		return p, err
	}
	return e.askFor(ctx, from, "Password: ")
}

// newPassword returns a password to set. On the terminal it is asked for twice.
func (e *env) newPassword(ctx context.Context, from passwordSource) ([]byte, error) {
	p, err := e.givenPassword(ctx, from)
	if err == nil && p != nil {
		if p, err = newReading(p); err != nil {
			err = fmt.Errorf("get %s: %w", from.words(), err)
		}
	}
	if err != nil || p != nil {
		return p, err
	}
	first, err := e.askFor(ctx, from, "New password: ")
	if err != nil {
		return nil, err
	}
	second, err := e.askFor(ctx, from, "New password, again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}

// words is the name of the password in messages.
func (s passwordSource) words() string { return strings.ReplaceAll(s.name, "-", " ") }

// fromVariables fills in a source from the environment if the command line names none, and returns the password itself if a
// variable holds it. Two variables are an error: only the user knows which one to unset.
func (e *env) fromVariables(from *passwordSource) (password string, err error) {
	if from.file != "" || from.command != "" || from.name == "" {
		return "", nil
	}
	names := []string{from.variable(), from.variable() + "_FILE", from.variable() + "_COMMAND"}
	var set []string
	for _, name := range names {
		if e.getenv(name) != "" {
			set = append(set, name)
		}
	}
	if len(set) > 1 {
		return "", usagef("%s are set: unset all but one, or use --%s-file or --%s-command, which take precedence", strings.Join(set, " and "), from.name, from.name)
	}
	from.file, from.command = e.getenv(names[1]), e.getenv(names[2])
	return e.getenv(names[0]), nil
}

// givenPassword returns the password from the command line or the environment; nil if neither gives one.
func (e *env) givenPassword(ctx context.Context, from passwordSource) (p []byte, err error) {
	password, err := e.fromVariables(&from)
	if err != nil {
		return nil, err
	}
	where := from.variable()
	switch {
	case password != "":
		p = []byte(password)
	case from.file != "" && from.command != "":
		return nil, usagef("--%s-file and --%s-command contradict each other: give one of them", from.name, from.name)
	case from.file != "":
		where = from.file
		p, err = readPassword(from.file)
	case from.command != "":
		where = fmt.Sprintf("the command %q", from.command)
		p, err = e.runPassword(ctx, from.command)
	default:
		return nil, nil
	}
	if err == nil && len(readings(p)[0]) == 0 {
		err = fmt.Errorf("%s gave an empty password", where)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", from.words(), err)
	}
	return p, nil
}

// readPassword returns the content of a file without its last line end. It returns UTF-16 unchanged: see readings.
func readPassword(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return nil, err
	}
	if len(p) > maxPassword {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxPassword)
	}
	if isUTF16(p) {
		return p, nil
	}
	return trimLineEnd(p), nil
}

// runPassword returns the first line that a command prints.
func (e *env) runPassword(ctx context.Context, command string) ([]byte, error) {
	var out bounded
	cmd := shell(ctx, command)
	cmd.Stdout, cmd.Stderr = &out, e.stderr
	cmd.WaitDelay = time.Second / 2 // for processes that it left running with its output open
	if term.IsTerminal(int(e.stdin.Fd())) {
		cmd.Stdin = e.stdin // it may ask there; it must not read a disk that is piped into platter
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if out.full { // this may be why the command failed, so it comes first
		return nil, fmt.Errorf("the command %q printed more than %d bytes", command, maxPassword)
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("the command %q failed: %w", command, err)
	} else if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(out.buf, []byte("\n"))
	return trimLineEnd(line), nil
}

// bounded is a buffer that refuses to grow beyond maxPassword.
type bounded struct {
	buf  []byte
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full = len(b.buf)+len(p) > maxPassword; b.full {
		return 0, io.ErrShortWrite
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func trimLineEnd(p []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(p, []byte("\n")), []byte("\r"))
}

func (e *env) askFor(ctx context.Context, from passwordSource, prompt string) ([]byte, error) {
	p, err := e.ask(ctx, prompt)
	if errors.Is(err, errNoTerminal) {
		return nil, usagef("no %s given, and no terminal to ask for it: set %s or use --%s-file or --%s-command",
			from.words(), from.variable(), from.name, from.name)
	}
	if err == nil && len(p) == 0 {
		err = errors.New("an empty password protects nothing")
	}
	return p, err
}
