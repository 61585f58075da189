package main

import (
	"slices"
	"strings"
)

// withoutSecrets returns an environment for other programs, without passwords, which ps, core files and logs would show. The
// source of a password (PLATTER_PASSWORD_FILE, PLATTER_PASSWORD_COMMAND) is not a secret, and a hook that runs platter needs it.
func withoutSecrets(environment []string) []string {
	return slices.DeleteFunc(slices.Clone(environment), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		name = strings.ToUpper(name) // Windows ignores case
		return strings.HasPrefix(name, "PLATTER_") && strings.HasSuffix(name, "PASSWORD")
	})
}
