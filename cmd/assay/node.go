package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/store/node"
)

const nodeHelp = `Run one node of the reference store, until SIGINT or SIGTERM.

Clients speak HTTP:
  curl -X PUT --data-binary hello http://127.0.0.1:7801/v1/kv/greeting
  curl http://127.0.0.1:7801/v1/kv/greeting
  curl -X DELETE http://127.0.0.1:7801/v1/kv/greeting
  curl http://127.0.0.1:7801/healthz
  curl http://127.0.0.1:7801/metrics

A settings file says the same as the flags, under the same names:
  assay node --print-config > node.yaml
  assay node --config node.yaml

assay cluster runs several nodes to play with.`

func nodeCommand() *cobra.Command {
	line := node.NewCommandLine()
	c := &cobra.Command{
		Use:   "node",
		Short: "run one node of the reference store",
		Long:  nodeHelp,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return line.Run(c.Context(), os.Stdout, os.Stderr)
		},
	}
	line.RegisterFlags(c.Flags())
	return c
}
