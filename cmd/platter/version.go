package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"platter/pack"
)

type versionOptions struct{ common }

func versionCommand(env *env) *cli.Command {
	var opts versionOptions
	return &cli.Command{
		Name:     "version",
		Usage:    "print the version of platter and of the repository format",
		Category: aboutPlatter,
		Flags:    outputFlags(&opts.common),
		Action:   action(env, &opts, runVersion),
	}
}

// A versionReport is what version --json prints.
type versionReport struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a commit with changes
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Format   int    `json:"format"` // of repositories that it creates
}

func runVersion(_ context.Context, env *env, opts versionOptions, args []string) error {
	if err := wantArgs(args); err != nil {
		return err
	}
	v := buildVersion()
	if opts.json {
		return env.printJSON(v)
	}
	fmt.Fprintf(env.stdout, "platter %s\n", v.Version)
	if v.Commit != "" {
		changed := ""
		if v.Modified {
			changed = ", with changes"
		}
		fmt.Fprintf(env.stdout, "commit %s%s\n", v.Commit, changed)
	}
	fmt.Fprintf(env.stdout, "%s %s/%s\nrepository format %d\n", v.Go, v.OS, v.Arch, v.Format)
	return nil
}

// buildVersion returns what the Go tool wrote into the program when it was built.
func buildVersion() versionReport {
	v := versionReport{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Format: pack.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
