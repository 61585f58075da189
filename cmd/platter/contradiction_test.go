package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestContradictions gives commands what does not go together: nothing is done, and the exit code is 2.
func TestContradictions(t *testing.T) {
	t.Setenv("PLATTER_CACHE_DIR", "")
	for _, test := range []struct{ line, want string }{
		{"init repo -r other", "REPO and --repo"},
		{"init repo --password-file f --password-command c", "--password-file and --password-command"},
		{"snapshots -r repo --password-file f --password-command c", "--password-file and --password-command"},
		{"key add -r repo --new-password-file f --new-password-command c", "--new-password-file and --new-password-command"},
		{"key passwd -r repo --new-password-file f --new-password-command c", "--new-password-file and --new-password-command"},
		{"repair packs -r repo --from x --from-password-file f --from-password-command c", "--from-password-file and --from-password-command"},
		{"repair packs -r repo --from-password-file f", "--from-password-file needs --from"},
		{"repair packs -r repo --from-password-command c", "--from-password-command needs --from"},
		{"snapshots -r repo --cache-dir d --no-cache", "--cache-dir and --no-cache"},
		{"snapshots -r repo --no-cache --accept", "--accept"},
		{"restore x y -r repo --force --in-place", "--force"},
		{"restore x y -r repo --verify --no-verify", "--no-verify"},
		{"restore x - -r repo --force", "--force"},
		{"restore x - -r repo --verify", "--verify"},
		{"restore x - -r repo --plan", "--plan"},
		{"restore x y -r repo --serial s", "--serial"},
		{"restore x y -r repo --grow-gpt", "--grow-gpt"},
		{"export x - -r repo --format qcow2 --force", "--force"},
		{"export x - -r repo --format qcow2 --verify", "--verify"},
		{"backup - -r repo --format qcow2", "standard input"},
		{"backup - -r repo --rescue-map m", "--rescue-map"},
		{"backup d -r repo --dry-run --bad-map m", "--bad-map"},
		{"forget x -r repo --keep-daily 3", "not both"},
		{"forget x -r repo --name n", "--name"},
		{"check -r repo --without-key --read-data", "--without-key"},
		{"check -r repo --no-cache --since-days 3", "--since-days"},
		{"repair snapshots -r repo --forget", "--forget"},
		{"snapshots -r repo --password-file=", "--password-file is empty"},
		{"snapshots --repo=", "--repo is empty"},
	} {
		e, stdout, _ := testEnv(t)
		app := newApp(e)
		err := app.RunContext(t.Context(), arrange(app, append([]string{"platter"}, strings.Fields(test.line)...)))
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), test.want) || stdout.String() != "" {
			t.Errorf("%s: %v, printed %q; want a usage error about %s", test.line, err, stdout, test.want)
		}
	}
}

// TestContradictionsAreFlags checks that each table speaks of flags that there are.
func TestContradictionsAreFlags(t *testing.T) {
	var all []string
	var collect func(commands []*cli.Command)
	collect = func(commands []*cli.Command) {
		for _, c := range commands {
			for _, f := range c.Flags {
				all = append(all, f.Names()...)
			}
			collect(c.Subcommands)
		}
	}
	e, _, _ := testEnv(t)
	collect(newApp(e).Commands)
	for _, pair := range slices.Concat(contradictions(), companions()) {
		for _, name := range pair {
			if !slices.Contains(all, name) {
				t.Errorf("no command has a flag --%s", name)
			}
		}
	}
}

// TestFlagsBeatVariables checks each flag that a variable can replace: the command line has precedence.
func TestFlagsBeatVariables(t *testing.T) {
	for _, test := range []struct {
		line, want string
		no         bool // of --no-cache
	}{
		{line: "", want: "of-the-variable"},
		{line: "--cache-dir of-the-flag", want: "of-the-flag"},
		{line: "--no-cache", want: "of-the-variable", no: true},
	} {
		t.Setenv("PLATTER_CACHE_DIR", "of-the-variable")
		t.Setenv("PLATTER_REPOSITORY", "repo-of-the-variable")
		t.Setenv("PLATTER_PASSWORD_FILE", "file-of-the-variable")
		e, _, _ := testEnv(t)
		var c common
		app := &cli.App{Writer: e.stdout, Commands: []*cli.Command{{Name: "x", Flags: repoFlags(&c), Action: func(c *cli.Context) error {
			return contradiction(c)
		}}}}
		if err := app.RunContext(t.Context(), append([]string{"platter", "x"}, strings.Fields(test.line)...)); err != nil {
			t.Errorf("%s: %v", test.line, err)
		}
		if c.cacheDir != test.want || c.noCache != test.no || c.repo != "repo-of-the-variable" || c.password.file != "" {
			t.Errorf("%s: %+v", test.line, c)
		}
	}
}
