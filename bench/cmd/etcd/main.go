// Command etcd is the etcd server of the version in go.mod, and nothing else:
// what the containers of a comparison run.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
