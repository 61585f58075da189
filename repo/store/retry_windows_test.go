package store

import "golang.org/x/sys/windows"

const unsupportedSync = windows.ERROR_INVALID_FUNCTION
