package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// outputOf runs a tool and returns what it prints.
func outputOf(ts *testscript.TestScript, name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		ts.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func scriptLoop(ts *testscript.TestScript, args []string) {
	sector := "512"
	if len(args) > 2 {
		sector = args[2]
	}
	node := outputOf(ts, "losetup", "--find", "--show", "--sector-size", sector, ts.MkAbs(args[1]))
	ts.Defer(func() {
		_ = exec.Command("umount", node).Run() // a script that failed may have left it mounted
		outputOf(ts, "losetup", "--detach", node)
	})
	ts.Setenv(args[0], node)
}

func scriptMadeUp(ts *testscript.TestScript, args []string) {
	no := outputOf(ts, "stat", "--format", "%Hr:%Lr", args[1])
	root := ts.MkAbs(args[0])
	for path, content := range map[string]string{
		"sys/devices/disk/dev":          no,
		"sys/devices/disk/serial":       args[2],
		"sys/devices/disk/device/model": "Made Up 1000",
		"proc/self/mountinfo":           "1 0 0:1 / /proc rw - proc proc rw",
	} {
		path = filepath.Join(root, path)
		ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		ts.Check(os.WriteFile(path, []byte(content+"\n"), 0o600))
	}
	link := filepath.Join(root, "sys/dev/block", no)
	ts.Check(os.MkdirAll(filepath.Dir(link), 0o700))
	ts.Check(os.Symlink(filepath.Join(root, "sys/devices/disk"), link))
}

func scriptMatching(ts *testscript.TestScript, args []string) {
	var a, b map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &a))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &b))
	some := false
	for _, key := range args[2:] {
		if a[key] != b[key] || a[key] == nil {
			ts.Fatalf("%s is %v in %s, and %v in %s", key, a[key], args[0], b[key], args[1])
		}
		some = some || a[key] != 0.0
	}
	if !some {
		ts.Fatalf("all of them are zero")
	}
}
