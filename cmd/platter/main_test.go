package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"platter": main,
		"askpass": askpass,
		"hang":    hang,
	})
}

// askpass prints the password that a command would use; "askpass new" one that 'key add' would.
func askpass() {
	env := newEnv()
	os.Exit(env.report(untilSignal(func(ctx context.Context) error {
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

// hang is a command that does not end, whatever its context says.
func hang() {
	env := newEnv()
	os.Exit(env.report(untilSignal(func(ctx context.Context) error {
		fmt.Fprintln(env.stdout, "started")
		<-ctx.Done()
		fmt.Fprintln(env.stdout, "stopping")
		select {}
	}), false))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Cmds:               scriptCommands(),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			return nil
		},
	})
}

// testEnv is an env whose output ends in the returned buffers, in which it is always the same moment, and in which
// nobody can be asked.
func testEnv(t *testing.T) (e *env, stdout, stderr *buffer) {
	stdout, stderr = new(buffer), new(buffer)
	return &env{
		stdin:    os.Stdin,
		stdout:   &output{w: stdout},
		stderr:   &screen{w: stderr},
		getenv:   func(string) string { return "" },
		now:      func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		hostname: func() (string, error) { return "testhost", nil },
		ask:      func(context.Context, string) ([]byte, error) { return nil, errNoTerminal },
	}, stdout, stderr
}
