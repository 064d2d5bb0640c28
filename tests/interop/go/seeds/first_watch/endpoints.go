package main

import (
	"os"
	"strings"
)

// What the article writes as a literal: a test has ports of its own.
var endpoints = strings.Split(os.Args[1], ",")
