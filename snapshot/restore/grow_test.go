package restore

import (
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
)

// TestAdviseGrowth checks the advice for each file system sample of package anatomy, and that there is none without
// room.
func TestAdviseGrowth(t *testing.T) {
	for name, want := range map[string]string{
		"apfs": "", "exfat": "", "fat16": "", "iso9660": "", "squashfs": "", "swap": "",
		"ext4": "'resize2fs /dev/sdx' (ext4)", "xfs": "'xfs_growfs' once /dev/sdx is mounted (xfs)", "ntfs": "'ntfsresize /dev/sdx'",
		"btrfs": "'btrfs filesystem resize max'", "f2fs": "'resize.f2fs /dev/sdx'", "luks": "'cryptsetup resize'", "lvm": "'pvresize /dev/sdx'",
	} {
		disk := image.Mem{Data: imagetest.Gunzip(t, filepath.Join("..", "image", "anatomy", "testdata", "heads", name+".gz"))}
		full, fit := new(Fit), &Fit{Left: 1}
		full.adviseGrowth(disk, 0, disk.Size(), "/dev/sdx", "a step")
		fit.adviseGrowth(disk, 0, disk.Size(), "/dev/sdx")
		if text := strings.Join(fit.Advice, "; "); !strings.Contains(text, want) || (text == "") != (want == "") || len(full.Advice) > 0 {
			t.Errorf("%s: it advises %q, and without room %q", name, text, full.Advice)
		}
		if fit.adviseGrowth(disk, 0, disk.Size(), "/dev/sdx", "a step"); !strings.Contains(fit.Advice[len(fit.Advice)-1], "to use that: a step") {
			t.Errorf("%s: after a step it advises %q", name, fit.Advice)
		}
	}
}
