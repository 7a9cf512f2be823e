package sut_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/gen"
	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/nemesis"
	"github.com/assay-chaos/assay/store/sut"
	"github.com/assay-chaos/assay/workloads"
)

// calm and busy are loads: a few keys at a moderate rate, and one key as fast
// as the clients can. sets is as calm, with compare-and-sets.
var (
	calm = registers(3, 150)
	busy = registers(1, 2000)
	sets = workloads.CASRegister(workloads.CASRegisterOptions{RegisterOptions: workloads.RegisterOptions{Keys: 3, Rate: 150}})
)

// run runs a test of a profile under the faults of a nemesis list, with every
// key on every node.
func run(t testing.TB, profile string, nodes int, load harness.Workload, faults string, seed uint64) *harness.Result {
	t.Helper()
	p, err := sut.ProfileByName(profile)
	require.NoError(t, err)
	return runSystem(t, sut.New(p.For(nodes)), nodes, load, faults, seed)
}

// runSystem runs a test of a store of so many nodes.
func runSystem(t testing.TB, system sim.System, nodes int, load harness.Workload, faults string, seed uint64) *harness.Result {
	t.Helper()
	specs, err := nemesis.Parse(faults)
	require.NoError(t, err)
	const during = 10 * time.Second
	episodes, err := nemesis.Schedule(seed, specs, nodes, during)
	require.NoError(t, err)
	w, err := sim.New(sim.Config{System: system, Nodes: nodes, Seed: seed})
	require.NoError(t, err)
	ctx := context.Background()
	res, err := harness.Run(ctx, harness.Test{
		Name: t.Name(), Seed: seed, System: system,
		Workload:  load,
		Faults:    episodes,
		Clients:   2 * nodes,
		OpTimeout: time.Second,
		Before:    500 * time.Millisecond, During: during, Recovery: time.Second,
		Settle: 2 * time.Second,
	}, w, harness.Options{})
	require.NoError(t, err)
	require.NoError(t, w.Close(ctx))
	require.Len(t, res.History.Faults, len(episodes))
	for _, f := range res.History.Faults {
		require.True(t, f.Effect.OK, "seed %d: %s %s did not bite: %s", seed, f.Kind, f.Detail, f.Effect.Evidence)
		require.True(t, f.Recovery.OK, "seed %d: %s %s did not heal: %s", seed, f.Kind, f.Detail, f.Recovery.Evidence)
	}
	return res
}

// registers reads and writes unique values, half and half.
func registers(keys int, rate float64) harness.Workload {
	w := harness.Workload{Name: "register"}
	var parts []gen.Part
	for k := range int32(keys) {
		w.Keys = append(w.Keys, string('a'+k))
		parts = append(parts,
			gen.Weight(1, gen.Repeat(gen.Op{F: history.Read, Key: k})),
			gen.Weight(1, gen.Unique(gen.Repeat(gen.Op{F: history.Write, Key: k}))))
	}
	w.Generator = gen.Rate(rate, gen.Mix(parts...))
	return w
}

// verdict says whether the run was linearizable.
func verdict(t testing.TB, res *harness.Result) checkers.Verdict {
	t.Helper()
	ok := 0
	for i := range res.History.Ops {
		if res.History.Ops[i].Outcome == history.OK {
			ok++
		}
	}
	require.Greater(t, ok, 300, "too few operations succeeded to judge anything")
	v := checkers.LinearizableWith(checkers.Options{})(checkers.Input{History: res.History}, checkers.Budget{Time: time.Minute})
	require.NotEqual(t, checkers.Unknown, v.Verdict, v.Reason)
	return v.Verdict
}

const everything = "partition,kill,pause,clock"

// What theory promises is kept under the faults that it allows.
func TestStrongProfilesHold(t *testing.T) {
	for _, c := range []struct {
		profile string
		nodes   int
		load    harness.Workload
		faults  string
		seeds   uint64
	}{
		{"abd", 3, calm, everything, 20},
		{"abd", 5, calm, everything, 20},
		{"abd", 3, busy, everything, 5},
		{"caspaxos", 3, sets, everything, 20},
		{"abd", 3, calm, "bitflip,kill,partition", 10},
		{"abd", 5, calm, "bitflip,slowdisk", 5},
		{"caspaxos", 3, sets, "bitflip,kill,partition", 10},
		{"caspaxos", 3, sets, "bitflip,slowdisk,clock", 5},
		{"caspaxos", 5, sets, everything, 10},
		{"caspaxos", 3, busy, everything, 5},
		{"write-one-read-all", 3, calm, everything, 10},
		{"majority-lww-writeback", 3, busy, "partition,kill,pause", 5},
	} {
		for seed := range c.seeds {
			got := verdict(t, run(t, c.profile, c.nodes, c.load, c.faults, seed))
			require.Equal(t, checkers.Held, got, "%s, %d nodes, %s, seed %d", c.profile, c.nodes, c.faults, seed)
		}
	}
}

// The settings that promise less must be found out.
func TestWeakProfilesAreBroken(t *testing.T) {
	for _, c := range []struct {
		profile string
		load    harness.Workload
		faults  string
	}{
		{"one-one", calm, ""},
		{"read-one-write-all", calm, ""},
		{"majority-lww", calm, "clock"},
		{"majority-lww-writeback", calm, "clock"},
		{"majority-query-tag", busy, "partition"},
		{"abd-nofsync", calm, "kill"},
	} {
		t.Run(c.profile, func(t *testing.T) {
			const seeds = 100
			for seed := range uint64(seeds) {
				if verdict(t, run(t, c.profile, 3, c.load, c.faults, seed)) == checkers.Broken {
					t.Logf("broken with seed %d", seed)
					return
				}
			}
			t.Errorf("none of %d seeds showed that it is not linearizable", seeds)
		})
	}
}

// Replicas that are left alone come to agree if they compare themselves, whatever
// has happened; read repair alone leaves what nobody reads.
func TestConvergence(t *testing.T) {
	// Keys are left alone after some operations, so that reads cannot do it.
	load := workloads.Register(workloads.RegisterOptions{Keys: 30, Window: 2, OpsPerKey: 60, Rate: 150})
	for _, p := range sut.Profiles() {
		diverged := 0
		for seed := range uint64(3) {
			if runSystem(t, sut.New(p), p.Nodes(), load, "partition,kill,pause", seed).Settled < 0 {
				diverged++
			}
		}
		if p.AntiEntropy > 0 {
			require.Zero(t, diverged, p.Name)
		} else {
			require.NotZero(t, diverged, p.Name)
		}
	}
}

// A run is a function of the test and the seed.
func TestRunsAreDeterministic(t *testing.T) {
	seen := make(map[[32]byte]uint64)
	for seed := range uint64(100) {
		p := sut.Profiles()[seed%uint64(len(sut.Profiles()))]
		first := runSystem(t, sut.New(p), p.Nodes(), calm, everything, seed).History.Hash()
		require.Equal(t, first, runSystem(t, sut.New(p), p.Nodes(), calm, everything, seed).History.Hash(), "%s, seed %d", p.Name, seed)
		require.NotContains(t, seen, first, "seeds %d and %d gave one history", seed, seen[first])
		seen[first] = seed
	}
}

// BenchmarkSimABD is a run without faults, of clients that are always busy, with
// its history recorded. Setting up and settling are not counted.
func BenchmarkSimABD(b *testing.B) {
	p, err := sut.ProfileByName("abd")
	require.NoError(b, err)
	system := sut.New(p)
	w, err := sim.New(sim.Config{System: system, Nodes: 3, Seed: 1})
	require.NoError(b, err)
	load := registers(5, 1)
	load.Generator = gen.Limit(b.N, gen.Mix(
		gen.Weight(1, gen.Func(func(c gen.Context) gen.Op { return gen.Op{F: history.Read, Key: int32(c.Seed % 5)} })),
		gen.Weight(1, gen.Unique(gen.Func(func(c gen.Context) gen.Op { return gen.Op{F: history.Write, Key: int32(c.Seed % 5)} })))))
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	res, err := harness.Run(ctx, harness.Test{
		Name: "bench", Seed: 1, System: system, Workload: load,
		Clients: 30, OpTimeout: time.Second,
		Before: time.Millisecond, During: time.Hour, Recovery: time.Millisecond,
		Settle: time.Second,
	}, w, harness.Options{})
	b.StopTimer()
	require.NoError(b, err)
	require.Len(b, res.History.Ops, b.N)
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "ops/s")
	b.ReportMetric(float64(w.Stats().Delivered)/seconds, "messages/s")
	require.NoError(b, w.Close(ctx))
}
