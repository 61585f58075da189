package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A source is a clean copy of one commit, and how to build it.
type source struct {
	dir       string
	version   string // with its v: v1.2.3
	commit    string
	time      time.Time // of the commit, UTC; every file of the release has it
	goVersion string    // as runtime.Version says it
	env       []string  // for the Go tool
}

// A platform is what a program is built for.
type platform struct{ os, arch, level string }

// The levels are the oldest that Go and the platform's distributions still run on.
var platforms = []platform{
	{"linux", "amd64", "GOAMD64=v1"},
	{"linux", "arm64", "GOARM64=v8.0"},
	{"linux", "arm", "GOARM=6"},
	{"windows", "amd64", "GOAMD64=v1"},
	{"windows", "arm64", "GOARM64=v8.0"},
	{"darwin", "amd64", "GOAMD64=v1"},
	{"darwin", "arm64", "GOARM64=v8.0"},
}

func (p platform) String() string {
	if p.arch == "arm" {
		return p.os + "_armv6"
	}
	return p.os + "_" + p.arch
}

// program returns the name of the program's file.
func (p platform) program() string {
	if p.os == "windows" {
		return "platter.exe"
	}
	return "platter"
}

// baseName returns how the names of a platform's archive and module list begin: platter_1.2.3_linux_amd64.
func (s *source) baseName(p platform) string {
	return "platter_" + strings.TrimPrefix(s.version, "v") + "_" + p.String()
}

// checkOut copies the commit at HEAD of the repository top into dir and tags it there, since the Go tool takes the
// program's version from the tag. It refuses changes that are not committed and a version that another commit has.
func checkOut(ctx context.Context, top, dir, version string) (*source, error) {
	changes, err := output(ctx, top, nil, "git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return nil, err
	}
	if changes != "" {
		return nil, fmt.Errorf("a release is built from a commit: commit or stash these changes first:\n%s", changes)
	}
	commit, err := output(ctx, top, nil, "git", "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	tagged, err := output(ctx, top, nil, "git", "for-each-ref", "--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)",
		"refs/tags/"+version)
	if err != nil {
		return nil, err
	}
	if tagged != "" && tagged != commit {
		return nil, fmt.Errorf("the tag %s names commit %s, and HEAD is %s: check out the tag, or choose another version", version, tagged, commit)
	}
	seconds, err := output(ctx, top, nil, "git", "show", "-s", "--format=%ct", commit)
	if err != nil {
		return nil, err
	}
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("time of commit %s: %w", commit, err)
	}
	for _, args := range [][]string{
		{"clone", "--quiet", "--no-tags", "--no-checkout", "--config", "core.autocrlf=false", "--config", "advice.detachedHead=false", top, dir},
		{"-C", dir, "checkout", "--quiet", "--detach", commit},
		{"-C", dir, "update-ref", "refs/tags/" + version, commit},
	} {
		if _, err := output(ctx, "", nil, "git", args...); err != nil {
			return nil, err
		}
	}
	s := &source{dir: dir, version: version, commit: commit, time: time.Unix(sec, 0).UTC()}
	s.env, err = goEnv(ctx, dir)
	if err != nil {
		return nil, err
	}
	s.goVersion, err = output(ctx, dir, s.env, "go", "env", "GOVERSION")
	return s, err
}

// goEnv returns an environment in which the Go tool builds the same program on every machine: of the user's settings it has
// only where modules come from and where files are cached.
func goEnv(ctx context.Context, dir string) ([]string, error) {
	text, err := output(ctx, dir, nil, "go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE",
		"GONOPROXY", "GOINSECURE", "GOAUTH")
	if err != nil {
		return nil, err
	}
	var settings map[string]string
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return nil, fmt.Errorf("read go env: %w", err)
	}
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "CGO_") && name != "CC" && name != "PWD" {
			env = append(env, e)
		}
	}
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return append(env, "GOENV=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-mod=readonly -trimpath -buildvcs=true", "CGO_ENABLED=0"), nil
}

// build compiles the program for a platform and proves that it is static and has the version.
func (s *source) build(ctx context.Context, p platform, path string) error {
	if _, err := output(ctx, s.dir, s.envFor(p), "go", "build", "-ldflags=-s -w", "-o", path, "./cmd/platter"); err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	if info.Main.Version != s.version {
		return fmt.Errorf("the Go tool calls the program %q, not %q (from v2 on, the module's path in go.mod must end in the major version)",
			info.Main.Version, s.version)
	}
	want := map[string]string{"CGO_ENABLED": "0", "-trimpath": "true", "vcs.modified": "false", "vcs.revision": s.commit}
	for _, setting := range info.Settings {
		if value, ok := want[setting.Key]; ok && value == setting.Value {
			delete(want, setting.Key)
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("the program was not built with %v", want)
	}
	return nil
}

// envFor returns the environment for work on one platform.
func (s *source) envFor(p platform) []string {
	return append(append([]string{}, s.env...), "GOOS="+p.os, "GOARCH="+p.arch, p.level)
}

// output runs a command and returns what it prints, without the last newline. A nil env is the process's own.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err),
			errors.New(strings.TrimSpace(stderr.String())))
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}
