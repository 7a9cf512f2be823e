// Command compare measures the reference store beside etcd on this machine, in
// one run: three nodes each, in containers started by harness/docker, one
// system up at a time, taking turns over several rounds. Machines differ and
// other work disturbs them; the ratio of two systems that took turns means more
// than either figure.
//
//	go -C bench run ./cmd/compare --rounds 5 --json compare.json
//
// Both write to disk before they acknowledge, and both reads are linearizable:
// abd 3/2/2 here, Raft with read index there. Compare-and-set is CASPaxos here, and
// a transaction on the value there. Both get the same goroutines, the
// same number of connections, keys and values. The clients run on the same
// machine as the nodes, so their cost is part of what is measured: it is what
// an application pays.
//
// Nothing that changes how a node works may enter here.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/harness/docker"
)

// options are what a comparison is made with. All are part of the report.
type options struct {
	Systems []string      `json:"systems"`
	Ops     []string      `json:"ops"`
	Rounds  int           `json:"rounds"`
	Nodes   int           `json:"nodes"`
	Clients int           `json:"clients"`
	Conns   int           `json:"connections"`
	Keys    int           `json:"keys"`
	Value   int           `json:"value_bytes"`
	Warmup  time.Duration `json:"warmup_ns"`
	Measure time.Duration `json:"measure_ns"`
	Seed    uint64        `json:"seed"`
}

func main() {
	o := options{
		Systems: []string{"store", "etcd"}, Ops: []string{opPut, opGet}, Rounds: 5, Nodes: 3,
		Clients: 64, Conns: 64, Keys: 10_000, Value: 256,
		Warmup: 2 * time.Second, Measure: 5 * time.Second, Seed: 1,
	}
	var jsonFile string
	f := pflag.NewFlagSet("compare", pflag.ContinueOnError)
	f.StringSliceVar(&o.Systems, "systems", o.Systems, "what to compare, in this order; ratios are the first one's to each other: "+strings.Join(systemNames(), ", "))
	f.StringSliceVar(&o.Ops, "ops", o.Ops, "what the clients do, one after the other: put, get, cas (each client on keys of its own), rmw (all on the same keys: read, then compare-and-set till it succeeds)")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often each system is started and measured")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "nodes of each system")
	f.IntVar(&o.Clients, "clients", o.Clients, "goroutines that do one operation after the other")
	f.IntVar(&o.Conns, "conns", o.Conns, "client objects with connections of their own, which the goroutines share evenly; number i talks to node i mod nodes, a routed one to all")
	f.IntVar(&o.Keys, "keys", o.Keys, "keys, drawn uniformly")
	f.IntVar(&o.Value, "value", o.Value, "bytes of a value")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "how long each operation runs before it is measured")
	f.DurationVar(&o.Measure, "measure", o.Measure, "how long it is measured")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "of the keys' order")
	f.StringVar(&jsonFile, "json", "", "also write the report, with every round, to this file")
	err := f.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = compare(ctx, o, jsonFile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func (o *options) validate() error {
	switch {
	case len(o.Systems) == 0:
		return errors.New("--systems is empty: name at least one of " + strings.Join(systemNames(), ", "))
	case o.Rounds < 1 || o.Nodes < 1 || o.Conns < 1 || o.Measure <= 0 || o.Warmup < 0:
		return errors.New("--rounds, --nodes, --conns and --measure have to be at least 1, and --warmup not negative")
	case o.Clients < o.Conns:
		return fmt.Errorf("--clients is %d and --conns %d: a connection needs at least one goroutine", o.Clients, o.Conns)
	case o.Keys < o.Clients:
		return fmt.Errorf("--keys is %d: for compare-and-set each of the %d goroutines needs one of its own", o.Keys, o.Clients)
	case o.Value < 8:
		return fmt.Errorf("--value is %d: a value is at least 8 bytes, to differ from the one before", o.Value)
	}
	for _, op := range o.Ops {
		if !slices.Contains([]string{opPut, opGet, opCAS, opRMW}, op) {
			return fmt.Errorf("--ops has %q: use put, get, cas, rmw", op)
		}
	}
	return nil
}

// compare lets the systems take turns, and prints the report.
func compare(ctx context.Context, o options, jsonFile string) error {
	if err := o.validate(); err != nil {
		return err
	}
	systems := make([]system, len(o.Systems))
	for i, name := range o.Systems {
		var err error
		if systems[i], err = newSystem(name); err != nil {
			return err
		}
	}
	r := report{Machine: describeMachine(), Options: o, Started: time.Now()}
	for round := range o.Rounds {
		for i, s := range systems {
			logf("round %d of %d: %s, load average %.2f", round+1, o.Rounds, o.Systems[i], loadAverage())
			measured, err := oneRound(ctx, &o, s)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round+1, o.Systems[i], err)
			}
			for _, m := range measured {
				m.System, m.Round = o.Systems[i], round
				r.Samples = append(r.Samples, m)
				logf("  %s", m)
			}
		}
	}
	r.summarize()
	r.print(os.Stdout)
	if jsonFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(&r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(jsonFile, append(text, '\n'), 0o644)
}

// oneRound starts a system with empty disks, measures each operation, and
// removes it.
func oneRound(ctx context.Context, o *options, s system) (_ []sample, err error) {
	w, err := docker.Start(ctx, docker.Config{System: s, Nodes: o.Nodes, Name: "compare", Logf: logf})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close(context.WithoutCancel(ctx))) }()
	addrs := make([]string, o.Nodes)
	for i := range addrs {
		addrs[i] = w.Addr(i)
	}
	if addrs, err = s.Targets(ctx, addrs); err != nil {
		return nil, err
	}
	conns := make([]conn, o.Conns)
	for i := range conns {
		if conns[i], err = s.Dial(addrs, i); err != nil {
			return nil, err
		}
		defer conns[i].Close()
	}
	l := newLoad(o, conns)
	if err := l.fill(ctx); err != nil {
		return nil, fmt.Errorf("write every key once: %w", err)
	}
	var out []sample
	for _, op := range o.Ops {
		if _, err := l.run(ctx, op, o.Warmup); err != nil {
			return nil, err
		}
		before, err := nodeCPU(ctx, w)
		if err != nil {
			return nil, err
		}
		m, err := l.run(ctx, op, o.Measure)
		if err != nil {
			return nil, err
		}
		after, err := nodeCPU(ctx, w)
		if err != nil {
			return nil, err
		}
		m.NodeCPU = (after - before).Seconds() * 1e6 / float64(m.Count)
		out = append(out, m)
	}
	return out, nil
}

// nodeCPU is the CPU time that all nodes have used.
func nodeCPU(ctx context.Context, w *docker.World) (time.Duration, error) {
	var sum time.Duration
	for i := range w.Nodes() {
		s, err := w.Status(ctx, i)
		if err != nil {
			return 0, err
		}
		if !s.Up {
			text, _ := w.Log(ctx, i)
			return 0, fmt.Errorf("node %d is down; its log:\n%s", i, text)
		}
		sum += time.Duration(s.Work)
	}
	return sum, nil
}

func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
