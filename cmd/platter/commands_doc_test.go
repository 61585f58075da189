package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var writeDocs = flag.Bool("write-docs", false, "write docs/commands.md")

const commandsDoc = "../../docs/commands.md"

// TestCommandsDoc checks that docs/commands.md says what the program says.
func TestCommandsDoc(t *testing.T) {
	var want bytes.Buffer
	want.WriteString("# Commands\n\nMade from the program's own help: `go test ./cmd/platter -run CommandsDoc -write-docs`.\n")
	describe := func(args ...string) {
		fmt.Fprintf(&want, "\n## platter %s\n\n```\n%s```\n", strings.Join(args, " "), helpText(t, args))
	}
	for _, c := range newApp(docEnv(nil)).Commands {
		if c.Hidden || c.Name == "help" {
			continue
		}
		for _, sub := range c.Subcommands {
			describe(c.Name, sub.Name)
		}
		if len(c.Subcommands) == 0 {
			describe(c.Name)
		}
	}
	_, common, _ := strings.Cut(rawHelp(t, []string{"version"}), "   "+commonFlags)
	_, repoCommon, _ := strings.Cut(rawHelp(t, []string{"show"}), "   "+commonFlags)
	fmt.Fprintf(&want, "\n## On every command\n\n```\n%s```\n\nOf these, commands that need no repository have\n\n```\n%s```\n",
		tidy(repoCommon), tidy(common))
	if *writeDocs {
		if err := os.WriteFile(commandsDoc, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(commandsDoc)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("docs/commands.md is not what the program says (%v); write it again with -write-docs", err)
	}
}

func docEnv(out *bytes.Buffer) *env {
	env := newEnv()
	env.stdout = &output{w: out}
	return env
}

// helpText returns a command's help without the flags that every command has, which would hide its own.
func helpText(t *testing.T, args []string) string {
	t.Helper()
	text, _, _ := strings.Cut(rawHelp(t, args), "   "+commonFlags)
	return tidy(strings.TrimSuffix(strings.TrimRight(text, " \n"), "\nFLAGS:"))
}

func rawHelp(t *testing.T, args []string) string {
	t.Helper()
	var out bytes.Buffer
	app := newApp(docEnv(&out))
	if err := app.RunContext(context.Background(), append(append([]string{"platter"}, args...), "--help")); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// tidy takes away what only a terminal needs.
func tidy(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
}
