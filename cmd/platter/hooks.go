package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"platter/snapshot"
)

// hookOptions are commands that run around a backup.
type hookOptions struct{ before, after string }

func hookFlags(o *hookOptions) []cli.Flag {
	const category = "Hooks, run by the shell with PLATTER_SOURCE, PLATTER_NAME and PLATTER_HOST set:"
	return []cli.Flag{
		&cli.StringFlag{Name: "before", Usage: "run `COMMAND` before SOURCE is opened, such as one that creates a snapshot of it; if it fails, nothing is stored", Category: category, Destination: &o.before},
		&cli.StringFlag{Name: "after", Usage: "run `COMMAND` at the end, even after a failure, with PLATTER_STATUS (exit code) and PLATTER_SNAPSHOT (ID, if stored); if it fails, the exit code is 3", Category: category, Destination: &o.after},
	}
}

func (o hookOptions) given() bool { return o.before != "" || o.after != "" }

// around runs --before, keep and --after. --after runs even if --before failed, which may have set up half of what --after removes.
// open is what keep has open: it is closed before --after, which could not unmount or drop it otherwise.
func (o hookOptions) around(ctx context.Context, env *env, c common, s *snapshot.Snapshot, path string, keep func(open *openSources) error) error {
	about := []string{"PLATTER_SOURCE=" + absolute(path), "PLATTER_NAME=" + s.Name, "PLATTER_HOST=" + s.Host}
	var open openSources
	id := ""
	err := env.farewell.after(func() error {
		if o.before == "" {
			return nil
		}
		if err := env.runHook(ctx, o.before, about); err != nil {
			return fmt.Errorf("--before: %w; nothing was stored", err)
		}
		return nil
	}, func(err error) error {
		err = errors.Join(err, open.close())
		if o.after == "" {
			return err
		}
		status := exitCode(interrupted(ctx, err))
		about := append(about, "PLATTER_STATUS="+strconv.Itoa(status), "PLATTER_SNAPSHOT="+id)
		if failed := env.runHook(context.WithoutCancel(ctx), shield+o.after, about); failed != nil {
			env.warn(c, "--after: %v", failed)
			if err == nil {
				err = fmt.Errorf("%w: the disk is stored, but --after failed", errIncomplete)
			}
		}
		return err
	})
	if err == nil {
		err = keep(&open)
	}
	return env.farewell.run(err, func() {
		if (err == nil || onlyIncomplete(err)) && !c.dryRun {
			id = s.ID.String()
		}
	})
}

// hookPatience is how long a hook may run after it was asked to end.
const hookPatience = 5 * time.Second

// runHook runs a command line. Its output goes to standard error: standard output is for results.
func (e *env) runHook(ctx context.Context, line string, about []string) error {
	return e.runShell(ctx, line, about, e.stderr)
}

// runShell runs a command line with more variables in its environment.
func (e *env) runShell(ctx context.Context, line string, about []string, stdout io.Writer) error {
	cmd := shell(ctx, line)
	cmd.Env = append(cmd.Env, about...)
	cmd.Stdout, cmd.Stderr = stdout, e.stderr
	cmd.WaitDelay = hookPatience
	cmd.Cancel = func() error { return endProcess(cmd.Process) }
	if term.IsTerminal(int(e.stdin.Fd())) {
		cmd.Stdin = e.stdin // it may ask there; it must not read a disk that is piped into platter
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // it left something running
		return nil
	case err != nil:
		return fmt.Errorf("the command %q failed: %w", strings.TrimPrefix(line, shield), err)
	}
	return nil
}

// openSources are the sources that a command has open. The cleanup after a signal may close them.
type openSources struct {
	mu     sync.Mutex
	all    []io.Closer
	closed bool
}

// add takes over a source. If the command has ended meanwhile, it closes the source.
func (o *openSources) add(src io.Closer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return errors.Join(errInterrupted, src.Close())
	}
	o.all = append(o.all, src)
	return nil
}

func (o *openSources) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	var errs []error
	for _, src := range o.all {
		errs = append(errs, src.Close())
	}
	o.all = nil
	return errors.Join(errs...)
}

// A farewell is the work at the end of a command, which ends by itself or is abandoned after a signal. It is done once; a second
// caller waits until it is done.
type farewell struct {
	mu   sync.Mutex
	last func(error) error // nil for nothing, or when it is done
}

// after runs first, and registers last to run at the end, even if first fails or a signal ends it.
func (f *farewell) after(first func() error, last func(error) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = last
	return first()
}

// run does the registered work, with the error of the command, and returns the error after that. It calls ready first, unless the
// work is done already.
func (f *farewell) run(err error, ready func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last
	if f.last = nil; last == nil {
		return err
	}
	ready()
	return last(err)
}
