package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/store/node"
)

const nodeHelp = `Run one node of the reference store, until SIGINT or SIGTERM.

Clients speak HTTP:
  curl -X PUT --data-binary hello http://127.0.0.1:7801/v1/kv/greeting
  curl http://127.0.0.1:7801/v1/kv/greeting
  curl -X DELETE http://127.0.0.1:7801/v1/kv/greeting
  curl http://127.0.0.1:7801/healthz`

func nodeCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	c := &cobra.Command{
		Use:   "node",
		Short: "run one node of the reference store",
		Long:  nodeHelp,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return node.Run(c.Context(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
	cfg.RegisterFlags(c.Flags())
	return c
}
