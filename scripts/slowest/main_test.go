package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var in strings.Builder
	for i := range 12 {
		fmt.Fprintf(&in, `{"Action":"output","Package":"p","Test":"Test%d","Output":"    quiet\n"}`+"\n", i)
		fmt.Fprintf(&in, `{"Action":"pass","Package":"p","Test":"Test%d/sub","Elapsed":%g}`+"\n", i, float64(i)/2)
		fmt.Fprintf(&in, `{"Action":"pass","Package":"p","Test":"Test%d","Elapsed":%d}`+"\n", i, i)
	}
	in.WriteString(`{"Action":"pass","Package":"p","Test":"TestParallel/sub","Elapsed":20}
{"Action":"pass","Package":"p","Test":"TestParallel","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t1s\n"}
{"Action":"pass","Package":"p","Elapsed":1}
{"Action":"output","Package":"q","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"q","Test":"TestBad/sub","Output":"    bad_test.go:1: wrong\n"}
{"Action":"fail","Package":"q","Test":"TestBad/sub","Elapsed":0}
{"Action":"fail","Package":"q","Test":"TestBad","Elapsed":0.5}
{"Action":"output","Package":"q","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t2s\n"}
{"Action":"fail","Package":"q","Elapsed":2}
{"ImportPath":"r","Action":"build-output","Output":"r.go:1: syntax error\n"}
go: no such package
`)
	var out strings.Builder
	if err := run(strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	want := `ok  	p	1s
    bad_test.go:1: wrong
FAIL	q	2s
panic: test timed out
r.go:1: syntax error
go: no such package

the slowest of 14 tests:
    20.0 s  p TestParallel
    11.0 s  p Test11
    10.0 s  p Test10
     9.0 s  p Test9
     8.0 s  p Test8
     7.0 s  p Test7
     6.0 s  p Test6
     5.0 s  p Test5
     4.0 s  p Test4
     3.0 s  p Test3
`
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}
