package main

import "testing"

// TestNotLocal tells folders of this machine from how other programs write places on others.
func TestNotLocal(t *testing.T) {
	const both, unix, windows, none = "linux windows", "linux", "windows", ""
	for path, local := range map[string]string{
		// What people of restic, borg, rsync, rclone and Kopia type.
		"sftp:nas:/x": none, "sftp://nas/x": none, "sftp:user@nas:/x": none, "user@nas:/x": none, "nas:/x": none, "nas:backup": none,
		"nas:": none, "nas:~/x": none, "ssh://nas/./x": none, "s3:https://s3.example.com/b": none, "s3:bucket": none, "s3://bucket/x": none,
		"b2:bucket:x": none, "rclone:remote:x": none, "remote:": none, ":sftp:x": none, ":local,case=true:/x": none, "rest:http://nas:8000/": none,
		"gs:bucket:/x": none, "azure:c:/x": none, "swift:c:/x": none, "file:///x": none, "file:x": none, "smb://nas/x": none, "http://nas": none,
		"[fe80::1]:/x": none, "user@[fe80::1]:x": none, "nas.example.com:volume1/x": none, "~": none, "~/repo": none,

		// Folders.
		"repo": both, "./repo": both, "../repo": both, ".": both, "..": both, "/mnt/nas": both, "/mnt/nas:8/x": both, "//nas/x": both,
		"./nas:x": both, "../nas:x": both, "./s3://x": both, "a/b:c": both, "user@nas": both, "mnt/nas:/x": both, "": both, "-": both,
		"repo with blanks": both, "./~/x": both, "~x": both, "x~/y": both, ".nas/x:y": both, "/": both,

		// What only Windows takes for a folder.
		`C:\x`: windows, `C:/x`: windows, `c:x`: windows, `C:`: windows, `\\nas\x`: windows, `\\?\C:\x`: windows, `\x:y`: windows, `.\nas:x`: windows,
		`C:x:y`: none, `1:\x`: none, `a\b:c`: windows, `a\b`: both, `\\.\PhysicalDrive1`: windows, `\x`: both,
	} {
		for _, goos := range []string{unix, windows} {
			want := local == both || local == goos
			if problem := notLocal(goos, path); (problem == "") != want {
				t.Errorf("%s on %s: %q, want local %v", path, goos, problem, want)
			}
		}
	}
}
