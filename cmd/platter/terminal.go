package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/term"
)

// errNoTerminal says that there is no terminal to ask on.
var errNoTerminal = errors.New("no terminal")

// askTerminal prints a prompt on the terminal and returns the line typed there, without echo. Standard input and output need not be
// the terminal: they may be a disk.
func askTerminal(ctx context.Context, prompt string) ([]byte, error) {
	return onTerminal(ctx, prompt, readHidden)
}

// confirmTerminal is askTerminal with echo, for what is not a secret.
func confirmTerminal(ctx context.Context, prompt string) ([]byte, error) {
	return onTerminal(ctx, prompt, readShown)
}

func onTerminal(ctx context.Context, prompt string, read func(ctx context.Context, in, out *os.File, prompt string) ([]byte, error)) ([]byte, error) {
	// A process may have a controlling terminal that no person uses, for example if a script started it.
	if !term.IsTerminal(int(os.Stdin.Fd())) && !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil, errNoTerminal
	}
	in, out, err := openTerminal()
	if err != nil {
		return nil, errNoTerminal
	}
	defer in.Close()
	if out != in {
		defer out.Close()
	}
	return read(ctx, in, out, prompt)
}

// openTerminal opens the terminal itself, independent of standard input and output.
func openTerminal() (in, out *os.File, err error) {
	if runtime.GOOS != "windows" {
		in, err = os.OpenFile("/dev/tty", os.O_RDWR, 0)
		return in, in, err
	}
	if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	if out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0); err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return in, out, nil
}

// readHidden reads a line without echo, and restores the terminal even if ctx ends first.
func readHidden(ctx context.Context, in, out *os.File, prompt string) ([]byte, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for password: %w", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	fmt.Fprint(out, prompt)
	defer fmt.Fprintln(out) // the typed line break is not shown either

	line, err := awaitLine(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	switch {
	case ctx.Err() != nil:
		if err := term.Restore(fd, before); err != nil {
			return nil, fmt.Errorf("turn the terminal's echo on again: %w: %w", err, context.Cause(ctx)) // the terminal may be closed
		}
		return nil, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		err = errors.New("no password was typed")
	}
	if err != nil {
		return nil, fmt.Errorf("ask for password: %w", err)
	}
	return line, nil
}

// readShown reads a line that the terminal shows as it is typed.
func readShown(ctx context.Context, in, out *os.File, prompt string) ([]byte, error) {
	fmt.Fprint(out, prompt)
	line, err := awaitLine(ctx, func() ([]byte, error) { return bufio.NewReader(in).ReadBytes('\n') })
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(out)
		return nil, context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("ask: %w", err)
	}
	return trimLineEnd(line), nil
}

// awaitLine returns what read returns, or the cause of ctx's end.
func awaitLine(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	// Each system interrupts a read from a terminal in another way, so after a signal this goroutine keeps waiting; the
	// process ends next.
	go func() {
		line, err := read()
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
