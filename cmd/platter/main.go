// Command platter keeps every version of a disk in one encrypted, deduplicated repository.
//
// A command is one file: an options struct, xxxCommand, which describes it to cli, and runXxx, which does it. Whatever
// the outside world is to them comes in an env. version.go is the shortest example.
package main

import (
	"context"
	"os"
)

func main() {
	limitMemory(0)
	env := newEnv()
	app := newApp(env)
	err := untilSignal(func(ctx context.Context) error {
		if err := app.RunContext(ctx, arrange(app, os.Args)); err != nil {
			return err
		}
		return env.stdout.err
	})
	err = env.farewell.run(err, func() {})
	os.Exit(env.report(err, wantsJSON(os.Args)))
}
