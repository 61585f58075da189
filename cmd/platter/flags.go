package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
)

// common are the flags of every command on a repository.
type common struct {
	repo                 string
	password             passwordSource
	json, quiet, verbose bool
	dryRun               bool // of the commands that have such a flag
	cacheDir             string
	noCache              bool
	memoryOnly           bool          // use only the memory in the cache, and read contents from the repository
	grace                time.Duration // how old a folder listing may be; negative if not given
	noFault              bool          // do not warn of a damaged config
	watch                *watch
}

// commonFlags is the heading of the common flags in help texts.
const commonFlags = "On every command:"

// repoFlags are the flags of a command that works on a repository.
func repoFlags(c *common) []cli.Flag {
	c.watch = new(watch)
	flags := []cli.Flag{onLine(&cli.StringFlag{
		Name: "repo", Aliases: []string{"r"}, Usage: "`FOLDER` of the repository", TakesFile: true,
		EnvVars: []string{"PLATTER_REPOSITORY"}, Category: commonFlags, Destination: &c.repo,
	}, true)}
	flags = append(flags, passwordFlags(&c.password, "password", "the repository's password", commonFlags)...)
	flags = append(flags, onLine(&cli.StringFlag{
		Name: "cache-dir", Usage: "`FOLDER` for the cache", TakesFile: true,
		DefaultText: "the user's cache folder",
		EnvVars:     []string{"PLATTER_CACHE_DIR"}, Category: commonFlags, Destination: &c.cacheDir,
	}, true), &cli.BoolFlag{
		Name: "no-cache", Usage: "use no cache: read everything from the repository, and detect no rollback", Category: commonFlags, Destination: &c.noCache, DisableDefaultText: true,
	})
	flags = append(flags, &cli.DurationFlag{
		Name: "grace", Usage: "`TIME` until all machines see a change in a folder", Value: -1,
		DefaultText: "detected", EnvVars: []string{"PLATTER_GRACE"}, Category: commonFlags, Destination: &c.grace,
	})
	return append(flags, outputFlags(c)...)
}

// outputFlags are those of repoFlags that also make sense without a repository.
func outputFlags(c *common) []cli.Flag {
	boolean := func(name, short, usage string, to *bool) cli.Flag {
		f := &cli.BoolFlag{Name: name, Usage: usage, Category: commonFlags, Destination: to, DisableDefaultText: true}
		if short != "" {
			f.Aliases = []string{short}
		}
		return f
	}
	return []cli.Flag{
		boolean("json", "", "print JSON, also for errors and warnings", &c.json),
		boolean("quiet", "q", "print only results, warnings and errors", &c.quiet),
		boolean("verbose", "v", "print details", &c.verbose),
	}
}

// passwordFlags are the flags --NAME-file and --NAME-command, with their environment variables.
func passwordFlags(s *passwordSource, name, what, category string) []cli.Flag {
	*s = passwordSource{name: name}
	return []cli.Flag{
		onLine(&cli.StringFlag{
			Name: name + "-file", Usage: fmt.Sprintf("read %s from `FILE`", what), TakesFile: true,
			EnvVars: []string{s.variable() + "_FILE"}, Category: category, Destination: &s.file,
		}, false),
		onLine(&cli.StringFlag{
			Name: name + "-command", Usage: fmt.Sprintf("take %s from the first line of `COMMAND`", what),
			EnvVars: []string{s.variable() + "_COMMAND"}, Category: category, Destination: &s.command,
		}, false),
	}
}
