package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// argsApp has a command of every sort.
func argsApp() *cli.App {
	var c common
	backup := &cli.Command{Name: "backup", Aliases: []string{"b"}, Flags: append(repoFlags(&c),
		&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}},
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}},
		&cli.BoolFlag{Name: "force", Aliases: []string{"f"}})}
	key := &cli.Command{Name: "key", Subcommands: []*cli.Command{
		{Name: "add", Flags: append(repoFlags(&c), &cli.StringFlag{Name: "label"})},
		{Name: "list", Flags: repoFlags(&c)},
	}}
	return &cli.App{
		Name: "platter", Flags: append(repoFlags(&c), &cli.BoolFlag{Name: "version"}),
		Commands: []*cli.Command{backup, key, {Name: "version", Flags: outputFlags(&c)}},
	}
}

func TestArrange(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"command alone", "backup", "backup"},
		{"in order already", "backup --tag a src", "backup --tag=a -- src"},
		{"flags behind arguments", "backup src --tag a dst -f", "backup --tag=a --force -- src dst"},
		{"flags before the command", "-r X -q backup src", "backup --repo=X --quiet -- src"},
		{"both ways at once", "-r X backup src --tag a", "backup --repo=X --tag=a -- src"},
		{"the later of two comes later", "-r X backup src --repo Y", "backup --repo=X --repo=Y -- src"},
		{"order of a list", "backup -t a src --tag b -t=c", "backup --tag=a --tag=b --tag=c -- src"},
		{"joined value", "backup --tag=a=b src", "backup --tag=a=b -- src"},
		{"empty values", "backup --tag= --repo  src", "backup --tag= --repo= -- src"},
		{"one dash", "backup -tag a src", "backup --tag=a -- src"},
		{"switch with a value", "backup src --force=false", "backup --force=false -- src"},
		{"bundle", "backup -qvf src", "backup --quiet --verbose --force -- src"},
		{"bundle before the command", "-qv backup", "backup --quiet --verbose"},
		{"no bundle: a flag with a value", "backup -qt src", "backup -qt -- src"},
		{"value that looks like a flag", "backup --tag --force src", "backup --tag=--force -- src"},
		{"value that looks like a command", "-r backup backup src", "backup --repo=backup -- src"},
		{"value that is two dashes", "backup --tag -- src", "backup --tag=-- -- src"},
		{"argument that looks like a command", "backup key add", "backup -- key add"},
		{"end of flags", "backup -f -- --tag -x", "backup --force -- --tag -x"},
		{"end of flags, twice", "backup -- a -- b", "backup -- a -- b"},
		{"end of flags, nothing behind", "backup src --", "backup -- src"},
		{"standard input", "backup - -f", "backup --force -- -"},
		{"alias of a command", "b src -f", "b --force -- src"},
		{"command of a command", "-r X key add --label l file", "key add --repo=X --label=l -- file"},
		{"flag between them", "key -r X add file", "key add --repo=X -- file"},
		{"flag that only the program has", "--version backup", "--version backup"},
		{"flag that the command does not have", "version -r X", "version --repo=X"},
		{"flag before a command without it", "-r X version --json", "--repo=X version --json"},
		{"unknown flag", "backup src --bogus x", "backup --bogus -- src x"},
		{"unknown flag with a value", "backup --bogus=1 src", "backup --bogus=1 -- src"},
		{"unknown flag before the command", "--tag a backup", "--tag -- a backup"},
		{"negative number", "backup -5 src", "backup -5 -- src"},
		{"negative number as a value", "backup -j -5 src", "backup --jobs=-5 -- src"},
		{"unknown command", "nonsense --flag x", "-- nonsense --flag x"},
		{"unknown command of a command", "key -q nonsense -f", "key --quiet -- nonsense -f"},
		{"value missing", "backup src --tag", "backup --tag"},
		{"value missing, found before", "backup src -f -r", "backup --force --repo"},
		{"value missing that the command has not", "version x --repo", "version --repo"},
		{"help of a command", "backup src --help", "backup --help"},
		{"help before the command", "-h backup src", "backup --help"},
		{"help after the last flag", "backup -- -h", "backup -- -h"},
		{"completion", "-r X backup src --generate-bash-completion", "-r X backup src --generate-bash-completion"},
		{"completion of long flags", "backup -- --generate-bash-completion", "backup --generate-bash-completion"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := append([]string{"platter"}, words(tt.in)...)
			before := slices.Clone(in)
			got := arrange(argsApp(), in)
			if want := append([]string{"platter"}, words(tt.want)...); !slices.Equal(got, want) {
				t.Errorf("arrange(%q)\n got %q\nwant %q", in, got, want)
			}
			if !slices.Equal(in, before) {
				t.Errorf("it changed its argument to %q", in)
			}
			if again := arrange(argsApp(), got); !strings.Contains(tt.name, "missing") && !slices.Equal(again, got) {
				t.Errorf("arranged again: %q, was %q", again, got)
			}
		})
	}
}

// words splits at single spaces, so that two of them hold an empty word.
func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, " ")
}
