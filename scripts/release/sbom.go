package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// A bom is a software bill of materials as CycloneDX 1.5 defines it, as far as it is used here.
type bom struct {
	Schema       string      `json:"$schema"`
	BOMFormat    string      `json:"bomFormat"`
	SpecVersion  string      `json:"specVersion"`
	SerialNumber string      `json:"serialNumber"`
	Version      int         `json:"version"`
	Metadata     metadata    `json:"metadata"`
	Components   []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	BOMRef     string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licenses   []licence  `json:"licenses,omitempty"`
	PURL       string     `json:"purl,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licence struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// makeSBOM lists what the Go tool wrote into the program: the Go release, the modules with their go.sum hashes, and the
// build's settings.
func makeSBOM(info *buildinfo.BuildInfo, program []byte, t time.Time) ([]byte, error) {
	sum := sha256.Sum256(program)
	main := component{
		Type: "application", BOMRef: "platter", Name: "platter", Version: info.Main.Version,
		Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licenses: make([]licence, 1),
	}
	main.Licenses[0].License.ID = "MIT"
	for _, s := range info.Settings {
		main.Properties = append(main.Properties, property{"go:build:" + s.Key, s.Value})
	}
	b := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", BOMFormat: "CycloneDX", SpecVersion: "1.5",
		SerialNumber: serial(sum), Version: 1,
		Metadata: metadata{t.Format(time.RFC3339), main},
	}
	release := strings.TrimPrefix(info.GoVersion, "go")
	b.Components = append(b.Components, library("std", info.GoVersion, "pkg:golang/std@"+release, ""))
	for _, m := range info.Deps {
		b.Components = append(b.Components, moduleComponent(m))
	}
	data, err := json.MarshalIndent(b, "", "  ")
	return append(data, '\n'), err
}

func moduleComponent(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	return library(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+strings.ReplaceAll(m.Version, "+", "%2B"), m.Sum)
}

func library(name, version, purl, sum string) component {
	c := component{Type: "library", BOMRef: purl, Name: name, Version: version, PURL: purl}
	if sum != "" {
		// It hashes a list of files, so it is not the hash of an archive that CycloneDX means.
		c.Properties = []property{{"go:sum", sum}}
	}
	return c
}

// serial makes a UUID of version 8 out of the program's hash: the format wants one, and a random one would differ every time.
func serial(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
