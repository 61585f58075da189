package main

// warnUnsynced says of a file that was written where nothing can be made durable what that means.
func warnUnsynced(env *env, c common, path string, unsynced bool) {
	if unsynced {
		env.warn(c, "%s: the file system does not support fsync: what was written may be lost when the machine it lies on loses power soon", path)
	}
}
