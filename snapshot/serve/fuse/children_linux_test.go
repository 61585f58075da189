package fuse

// children are what this test program can be instead, by the value of FUSE_TEST_CHILD.
var children = map[string]func(){}
