//go:build !linux

package image

import "os"

func (System) identity(*os.File) Identity           { return Identity{} }
func (System) uses(*os.File) ([]Use, error)         { return nil, nil }
func (System) holds(*os.File, string) (bool, error) { return false, nil }
func (System) name(*os.File) string                 { return "" }
func (System) isPartition(*os.File) bool            { return false }
func (System) isReadOnly(*os.File) bool             { return false }
