package workloads_test

import (
	"context"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/harness"
	"github.com/assay-chaos/assay/harness/sim"
	"github.com/assay-chaos/assay/results/trial"
	"github.com/assay-chaos/assay/store/sut"
	"github.com/assay-chaos/assay/workloads"
)

// A bank over the reference store, in the simulator. A store of one's own takes its
// place if its clients are a [workloads.KV].
func ExampleLayered() {
	profile, _ := sut.ProfileByName("caspaxos")
	store := sut.New(profile)
	o := workloads.BankOptions{Accounts: 3}
	o.Keys, o.Window, o.OpsPerKey, o.Rate = 20, 5, 100, 300
	bank := workloads.Bank(o)
	run, err := trial.Run(context.Background(), harness.Test{
		Name: "bank", Seed: 1, System: bank.Over(store), Workload: bank.Workload,
		Clients: 6, OpTimeout: time.Second, Before: 5 * time.Second,
	}, trial.Options{
		Start: func(context.Context) (harness.World, error) {
			return sim.New(sim.Config{System: store, Nodes: 3, Seed: 1})
		},
		Claims: []checkers.Claim{checkers.Linearizable, checkers.Conserved},
		Judge: checkers.JudgeOptions{
			Linearizable: checkers.Options{Model: checkers.ModelBank, Balances: o.Balances()},
			Bank:         checkers.BankOptions{Total: 300},
		},
	})
	fmt.Println(run.Verdict, err)
	// Output: held <nil>
}
