package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionFlag is what completion scripts put last on the command line.
const completionFlag = "--generate-bash-completion"

// arrange reorders the command line for cli, which looks for flags only directly after the command they belong to:
//
//	platter -q backup src --tag a   →   platter backup --quiet --tag=a -- src
//
// Flags after an argument move before it, and flags before a command move to the command if it has them. A flag gets its first
// name, because cli refuses two spellings of one flag. Unknown flags stay where they are, so that cli reports them.
func arrange(app *cli.App, args []string) []string {
	if len(args) < 2 {
		return args
	}
	if args[len(args)-1] == completionFlag {
		// "--" would make cli run the command instead of completing, and every long flag begins with it.
		return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--" })
	}
	a := &arranger{levels: []*level{{name: args[0], known: definitions(app.Flags), subcommands: app.Commands}}}
	a.scan(args[1:])
	return a.join()
}

// A definition is what arrange must know about a flag.
type definition struct {
	name       string // the first of its names
	takesValue bool
}

func definitions(flags []cli.Flag) map[string]definition {
	known := map[string]definition{"help": {name: "help"}, "h": {name: "help"}} // cli adds it to every command later
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		for _, name := range f.Names() {
			known[name] = definition{f.Names()[0], ok && doc.TakesValue()}
		}
	}
	return known
}

// A level is the program, a command or a subcommand, with the flags found after it.
type level struct {
	name        string
	known       map[string]definition
	subcommands []*cli.Command
	flags       []found
}

// A found is a flag on the command line.
type found struct {
	name string // empty for an unknown one
	text string // in the form for cli
}

// An arranger takes a command line apart.
type arranger struct {
	levels []*level // the program first, the command whose flags are being read last
	args   []string
	last   string // a flag whose value is missing: cli notices only if nothing follows
}

func (a *arranger) scan(tokens []string) {
	for i := 0; i < len(tokens); i++ {
		token, here := tokens[i], a.levels[len(a.levels)-1]
		switch {
		case token == "--":
			a.args = append(a.args, tokens[i+1:]...)
			return
		case len(token) > 1 && token[0] == '-':
			if a.flag(token, tokens[i+1:]) {
				i++
			}
		case len(here.subcommands) == 0:
			a.args = append(a.args, token)
		default:
			c := findCommand(here.subcommands, token)
			if c == nil { // the rest means nothing without a command
				a.args = tokens[i:]
				return
			}
			a.levels = append(a.levels, &level{name: token, known: definitions(c.Flags), subcommands: c.Subcommands})
		}
	}
}

func findCommand(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// flag adds one flag, and reports whether it used the next token as its value.
func (a *arranger) flag(token string, rest []string) (usedNext bool) {
	here := a.levels[len(a.levels)-1]
	name, value, joined := strings.Cut(strings.TrimPrefix(token[1:], "-"), "=")
	def, ok := a.lookup(name)
	switch {
	case !ok && a.bundle(token):
	case !ok:
		here.flags = append(here.flags, found{text: token})
	case joined:
		here.flags = append(here.flags, found{def.name, "--" + def.name + "=" + value})
	case !def.takesValue:
		here.flags = append(here.flags, found{def.name, "--" + def.name})
	case len(rest) > 0:
		here.flags = append(here.flags, found{def.name, "--" + def.name + "=" + rest[0]})
		return true
	default:
		a.last = "--" + def.name
	}
	return false
}

// bundle splits -qv into its flags. It returns false unless all are known flags without a value.
func (a *arranger) bundle(token string) bool {
	if strings.HasPrefix(token, "--") {
		return false
	}
	here := a.levels[len(a.levels)-1]
	var flags []found
	for _, c := range token[1:] {
		def, ok := a.lookup(string(c))
		if !ok || def.takesValue {
			return false
		}
		flags = append(flags, found{def.name, "--" + def.name})
	}
	here.flags = append(here.flags, flags...)
	return true
}

// lookup finds a flag of the command or of its parents.
func (a *arranger) lookup(name string) (definition, bool) {
	for i := len(a.levels) - 1; i >= 0; i-- {
		if def, ok := a.levels[i].known[name]; ok {
			return def, true
		}
	}
	return definition{}, false
}

// join puts the command line together again.
func (a *arranger) join() []string {
	flags := make([][]string, len(a.levels))
	help := false
	for i, l := range a.levels {
		for _, f := range l.flags {
			to := a.home(i, f.name)
			flags[to] = append(flags[to], f.text)
			help = help || f.name == "help"
		}
	}
	var out []string
	for i, l := range a.levels {
		out = append(append(out, l.name), flags[i]...)
	}
	switch {
	case a.last != "":
		return append(out, a.last)
	case len(a.args) == 0, help: // cli would look for help on the argument
		return out
	}
	return append(append(out, "--"), a.args...)
}

// home is the last level, at or after from, that has the flag.
func (a *arranger) home(from int, name string) int {
	for i := len(a.levels) - 1; i > from; i-- {
		if def, ok := a.levels[i].known[name]; ok && def.name == name {
			return i
		}
	}
	return from
}
