package nbd

const onWindows = true
