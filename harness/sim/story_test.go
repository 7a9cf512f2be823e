package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness"
)

// relay passes what clients tell it to the other nodes; everyone writes it to
// its disk. The client is answered when the first node has it durably.
func bootRelay(h Host) (Node, error) {
	h.Logf("boot with %q", h.Disk().Read("log"))
	var waiting []uint64
	write := func(msg any) {
		h.Disk().Append("log", []byte(msg.(string)))
		h.Disk().Sync(uint64(h.Disk().Size("log")))
	}
	return &puppet{
		receive: func(_ int, msg any) { write(msg) },
		request: func(id uint64, req any) {
			waiting = append(waiting, id)
			write(req)
			for to := range h.Nodes() {
				if to != h.ID() {
					h.Send(to, req)
				}
			}
		},
		synced: func(uint64) {
			if len(waiting) > 0 {
				h.Reply(waiting[0], "done")
				waiting = waiting[1:]
			}
		},
	}, nil
}

// TestStories runs the scenarios in testdata: commands in, what happens in the
// world out. Rewrite the output with go test -run Stories -rewrite. All
// messages, syncs and client links take 1 ms, a boot 10 ms.
//
//	world [nodes=N] [loss=P] [duplicate=P] [seed=S]
//	call node=N value=V [timeout=D]     wait for the answer
//	run for=D
//	cut links=(A-B, …) lease=D          from A to B
//	kill | pause node=N lease=D
//	start | resume node=N
//	clock node=N offset=D lease=D
//	disk node=N                         the log as it would be read
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var w *World
		var out strings.Builder
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out.Reset()
			if d.Cmd == "world" {
				cfg := still()
				cfg.System = toy{bootRelay}
				cfg.Nodes = 3
				d.MaybeScanArgs(t, "nodes", &cfg.Nodes)
				d.MaybeScanArgs(t, "seed", &cfg.Seed)
				cfg.Net.Loss = probability(t, d, "loss")
				cfg.Net.Duplicate = probability(t, d, "duplicate")
				cfg.Trace = func(e Event) { fmt.Fprintln(&out, e) }
				w = newWorld(t, cfg)
				return out.String()
			}
			if err := command(t, w, d, &out); err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
			}
			return out.String()
		})
	})
}

func probability(t *testing.T, d *datadriven.TestData, name string) (p float64) {
	if d.HasArg(name) {
		var s string
		d.ScanArgs(t, name, &s)
		_, err := fmt.Sscan(s, &p)
		require.NoError(t, err)
	}
	return p
}

func command(t *testing.T, w *World, d *datadriven.TestData, out *strings.Builder) error {
	span := func(name string) time.Duration {
		var s string
		d.ScanArgs(t, name, &s)
		v, err := time.ParseDuration(s)
		require.NoError(t, err)
		return v
	}
	node := 0
	d.MaybeScanArgs(t, "node", &node)
	switch d.Cmd {
	case "call":
		var value string
		d.ScanArgs(t, "value", &value)
		return w.Await(bg, func(ctx context.Context) error {
			if d.HasArg("timeout") {
				var cancel context.CancelFunc
				ctx, cancel = w.Timeout(ctx, span("timeout"))
				defer cancel()
			}
			_, err := w.Call(ctx, node, value)
			return err
		})
	case "run":
		return w.Sleep(bg, span("for"))
	case "cut":
		var links []harness.Link
		for _, v := range d.CmdArgs[0].Vals {
			var l harness.Link
			_, err := fmt.Sscanf(v, "%d-%d", &l.From, &l.To)
			require.NoError(t, err)
			links = append(links, l)
		}
		return w.Cut(bg, "cut", links, span("lease"))
	case "kill":
		return w.Kill(bg, node, span("lease"))
	case "start":
		return w.Start(bg, node)
	case "pause":
		return w.Pause(bg, node, span("lease"))
	case "resume":
		return w.Resume(bg, node)
	case "clock":
		return w.SetClock(bg, node, harness.Clock{Offset: span("offset")}, span("lease"))
	case "disk":
		fmt.Fprintf(out, "%q\n", w.Disk(node).Read("log"))
		return nil
	}
	return fmt.Errorf("unknown command %q", d.Cmd)
}
