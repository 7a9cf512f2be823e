package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/results/serve"
	"github.com/assay-chaos/assay/store/node"
)

const serveHelp = `Show a results folder in a browser: the runs with filters, the matrices and the
nights, and of each run its operations to move through.

Nothing is executed or changed, and no path leads out of the folder. It listens on
this machine only, unless --listen says otherwise; there is no password.`

func serveCommand() *cobra.Command {
	listen := "127.0.0.1:7900"
	var log node.LogConfig
	c := &cobra.Command{
		Use:     "serve [DIR]",
		Short:   "show a results folder in a browser",
		Long:    serveHelp,
		Example: "  assay serve\n  assay serve results/nightly --listen 127.0.0.1:0",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "results"
			if len(args) > 0 {
				dir = args[0]
			}
			logger := log.Logger(c.ErrOrStderr())
			s, err := serve.New(dir, logger)
			if err != nil {
				return err
			}
			defer s.Close()
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("serve: --listen: %w", err)
			}
			if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
				logger.Warn("whoever reaches this address can read the results: there is no password", "listen", l.Addr().String())
			}
			fmt.Fprintf(c.OutOrStdout(), "http://%s shows %s; Ctrl-C ends it\n", l.Addr(), dir)
			web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
			stop := context.AfterFunc(c.Context(), func() {
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				defer cancel()
				_ = web.Shutdown(ctx)
			})
			defer stop()
			if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve: %w", err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&listen, "listen", listen, "host:port; port 0: whatever is free")
	log.RegisterFlags(c.Flags())
	return c
}
