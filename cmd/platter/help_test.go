package main

import (
	"strings"
	"testing"
)

func TestWrapped(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 25)) // 124 columns
	tests := []struct{ in, want string }{
		{"", ""},
		{"short\n\n   as it is  \nlast", "short\n\n   as it is\nlast"},
		{long, long[:94] + "\n" + long[95:]},
		{"    " + long, "    " + long},
	}
	for _, tt := range tests {
		if got := wrapped(tt.in); got != tt.want {
			t.Errorf("wrapped(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}
