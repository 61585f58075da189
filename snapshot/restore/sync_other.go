//go:build !unix

package restore

// lacksSync returns false: on this system the error does not tell.
func lacksSync(error) bool { return false }
