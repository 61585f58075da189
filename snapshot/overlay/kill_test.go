package overlay

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// killedEnv names the overlay that a copy of the test program writes to until it is killed.
const killedEnv = "PLATTER_TEST_OVERLAY"

// killedBase is the same disk in all processes.
func killedBase() badDisk { return randomBase(rand.New(rand.NewPCG(6, 6)), 200*unit+77) }

// TestKill kills a process that writes to an overlay, opens the overlay, and has another process go on. Each time, all
// that was synced is there. The process says what it does before and after each call, and makes the same calls as the
// model.
func TestKill(t *testing.T) {
	if path := os.Getenv(killedEnv); path != "" {
		writeForever(path)
	}
	path := filepath.Join(t.TempDir(), "overlay")
	base := killedBase()
	d, err := Create(path, base, Binding{4})
	must(t, err)
	must(t, d.Close())
	m := newModel(base)
	rng := rand.New(rand.NewPCG(6, 7))
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		killOne(t, m, path, uint64(round), rng.IntN(150))
		d, err := Open(path, base, Binding{4})
		must(t, err)
		if err := m.wantSince(d); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		m.accept(d)
		must(t, d.Close())
	}
}

// killOne starts a process, kills it after so many lines, and makes the same calls on the model.
func killOne(t *testing.T, m *model, path string, seed uint64, lines int) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path, fmt.Sprintf("%s_SEED=%d", killedEnv, seed))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	rng := rand.New(rand.NewPCG(seed, 8))
	var o op
	for scan := bufio.NewScanner(out); scan.Scan(); lines-- {
		if lines == 0 {
			must(t, cmd.Process.Kill())
		}
		switch line := scan.Text(); {
		case line == "done":
			if o.kind == 's' {
				m.synced()
			}
		case strings.HasPrefix(line, "do "):
			if o = randomOp(rng, m.base.Size()); line != "do "+o.String() {
				t.Fatalf("the process says %q, want %v", line, o)
			}
			if o.kind != 's' && m.allows(o.off, int64(len(o.data))) {
				m.change(o.kind, o.data, o.off)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if stderr.Len() > 0 || lines > 0 {
		t.Fatalf("the process ended by itself: %s", &stderr)
	}
}

// writeForever makes random calls. It does not return.
func writeForever(path string) {
	base := killedBase()
	d, err := Open(path, base, Binding{4})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m := newModel(base)
	m.accept(d)
	var seed uint64
	fmt.Sscan(os.Getenv(killedEnv+"_SEED"), &seed)
	rng := rand.New(rand.NewPCG(seed, 8))
	for {
		o := randomOp(rng, d.Size())
		fmt.Printf("do %v\n", o)
		if err := m.do(d, o); err != nil {
			fmt.Fprintln(os.Stderr, o, err)
			os.Exit(1)
		}
		fmt.Println("done")
	}
}
