package layout

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNames checks that Names rejects foreign names and knows every folder of the repository.
func TestNames(t *testing.T) {
	for _, name := range []string{"", "note", "config2", "keys/note", "projects/config", "packs/ab/note", strings.Repeat("0", 64)} {
		if (Names{}).File(name) {
			t.Errorf("%q is one of its files", name)
		}
	}
	source, err := os.ReadFile("layout.go")
	if err != nil {
		t.Fatal(err)
	}
	folders := regexp.MustCompile(`(?m)^\t[A-Z]\w+ += "(\w+)"$`).FindAllSubmatch(source, -1)
	for _, folder := range folders {
		if string(folder[1]) == Config {
			continue
		}
		if !(Names{}).Folder(string(folder[1])) {
			t.Errorf("%s is none of its folders", folder[1])
		}
	}
	if len(folders) < 9 {
		t.Errorf("%d folders in layout.go", len(folders))
	}
	for _, name := range []string{"", "projects", "packs/abc", "packs/AB", "packs/xy", "packs/ab/cd", "keys/keys", "config"} {
		if (Names{}).Folder(name) {
			t.Errorf("%q is one of its folders", name)
		}
	}
}
