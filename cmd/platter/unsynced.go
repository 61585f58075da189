package main

// warnUnsynced warns of a written file on a file system without fsync.
func warnUnsynced(env *env, c common, path string, unsynced bool) {
	if unsynced {
		env.warn(c, "%s: the file system does not support fsync: the file may be lost if that machine loses power soon", path)
	}
}
