// Command platter stores every version of a disk in one encrypted, deduplicated repository.
//
// A command is one file: an options struct, xxxCommand, which describes it to cli, and runXxx, which runs it. An env is its
// access to the outside world. version.go is the shortest example.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(runProgram(newEnv(), os.Args)) }

// runProgram runs the program and returns its exit code.
func runProgram(env *env, args []string) int {
	limitMemory(0)
	app := newApp(env)
	err := untilSignal(func(ctx context.Context) error {
		if err := app.RunContext(ctx, arrange(app, args)); err != nil {
			return err
		}
		return env.stdout.err
	}, &env.patient, env.end)
	return env.report(err, wantsJSON(args))
}
