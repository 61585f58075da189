package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"platter/snapshot/image"
)

// raceOptions keep programs with the race detector in them from sleeping for a second before they end.
const raceOptions = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" "+raceOptions))
	if !isCommand() {
		// Whoever runs the tests may have had hang-ups ignored, as nohup does. Programs that they start get them.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Main(m, map[string]func(){
		"platter":    main,
		"on-made-up": onMadeUp,
		"askpass":    askpass,
		"hang":       hang,
		"measure":    measure,
		"stopping":   stopping,
	})
}

// isCommand reports whether this is one of the programs that testscript.Main makes of the test binary.
func isCommand() bool { return !strings.Contains(filepath.Base(os.Args[0]), ".test") }

// endsWith is untilSignal for a program that has nothing to do in the end.
func endsWith(run func(context.Context) error) error {
	return untilSignal(run, new(atomic.Bool), func(err error) error { return err })
}

// askpass prints the password that a command would use; "askpass new" one that 'key add' would.
func askpass() {
	env := newEnv()
	os.Exit(env.report(endsWith(func(ctx context.Context) error {
		ask, source := env.password, passwordSource{name: "password"}
		if len(os.Args) > 1 {
			ask, source = env.newPassword, passwordSource{name: "new-password"}
		}
		source.file, source.command = os.Getenv("FILE"), os.Getenv("COMMAND")
		p, err := ask(ctx, source)
		fmt.Fprintf(env.stdout, "%q\n", p)
		return err
	}), false))
}

// onMadeUp is the program on a machine whose /sys, /proc and /run are in the folder MADE_UP.
func onMadeUp() {
	env := newEnv()
	env.devices = image.System{Root: os.Getenv("MADE_UP")}
	os.Exit(runProgram(env, os.Args))
}

// hang is a command that does not end, whatever its context says.
func hang() {
	env := newEnv()
	os.Exit(env.report(endsWith(func(ctx context.Context) error {
		fmt.Fprintln(env.stdout, "started")
		<-ctx.Done()
		fmt.Fprintln(env.stdout, "stopping")
		select {}
	}), false))
}

// measure runs a program, "measure FILE PROGRAM ARGS...", and writes into FILE how many bytes of memory it took at most. It
// stands between because Linux counts for a new process what the one that started it took, and tests may take a lot.
func measure() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := os.WriteFile(os.Args[1], fmt.Append(nil, peakMemory(cmd.ProcessState)), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Cmds:               scriptCommands(),
		Condition:          scriptCondition,
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("PLATTER_CACHE_DIR", filepath.Join(e.WorkDir, ".cache")) // not that of the user who runs the tests
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}

// testEnv is an env whose output ends in the returned buffers, in which it is always the same moment, and in which
// there is no terminal to ask on.
func testEnv(t *testing.T) (e *env, stdout, stderr *buffer) {
	stdout, stderr = new(buffer), new(buffer)
	return &env{
		stdin:    os.Stdin,
		stdout:   &output{w: stdout},
		stderr:   &screen{w: stderr},
		getenv:   func(string) string { return "" },
		now:      func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		hostname: func() (string, error) { return "testhost", nil },
		cacheDir: func() (string, error) { return "", errors.New("none in tests") },
		ask:      func(context.Context, string) ([]byte, error) { return nil, errNoTerminal },
		confirm:  func(context.Context, string) ([]byte, error) { return nil, errNoTerminal },

		openFolder: localStore,
	}, stdout, stderr
}
