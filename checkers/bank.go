package checkers

import (
	"fmt"

	"github.com/assay-chaos/assay/harness/history"
)

// BankOptions say what a bank must keep.
type BankOptions struct {
	// Total is what all accounts of a key hold together; 0: what most reads of
	// that key saw, or of equally many sums the one seen first.
	Total history.Value
	// Overdraft allows accounts below zero.
	Overdraft bool
}

// BankWith judges whether money is conserved: every read of all balances of a
// bank (a key) sees the same total, and no account below zero.
//
// Source: the bank test of Jepsen (jepsen.tests.bank), which finds violations of
// snapshot isolation and lost updates. Transfers move money from one account to
// another, so whatever took effect and in whichever order, an atomic read sees
// the same sum. It looks at reads alone; whether a transfer was lost as a whole
// is for linearizability to say. O(n) beside the balances.
func BankWith(opts BankOptions) Checker {
	return func(in Input, _ Budget) Result {
		h := in.History
		if why := unfitForBanks(h); why != "" {
			return Result{Claim: Conserved, Key: -1, Reason: why}
		}
		keys := byKey(h.Ops)
		found := make([]tally, len(keys))
		inParallel(len(found), shares, func(i int) { found[i] = bank(h, keys[i], opts) })
		return together(h, Conserved, found, "read", "all of one total", "no balances were read")
	}
}

// unfitForBanks says why a history cannot be one of banks.
func unfitForBanks(h *history.History) string {
	if why := malformed(h); why != "" {
		return why
	}
	for i := range h.Ops {
		o := &h.Ops[i]
		switch o.F {
		case history.Add:
			return fmt.Sprintf("operation %d adds an element: the history is of sets, not of banks", i)
		case history.ReadAll:
			if o.Outcome == history.OK && o.Out != history.Nil && (o.Out < 0 || int64(o.Out) >= int64(len(h.Lists))) {
				return fmt.Sprintf("operation %d saw list %s, of %d: the history is damaged", i, o.Out, len(h.Lists))
			}
		}
	}
	return ""
}

func bank(h *history.History, k keyView, opts BankOptions) tally {
	t := tally{key: k.key}
	total := opts.Total
	if total == 0 {
		total = usualTotal(h, k)
	}
	for i, n := 0, k.len(); i < n; i++ {
		balances, _ := seenList(h, k.at(i))
		if len(balances) == 0 {
			continue
		}
		t.checked++
		sum, low := sumOf(balances)
		switch at := k.index(i); {
		case sum != total:
			t.add(k.key, func() ([]int, string) {
				return []int{at}, fmt.Sprintf("%s, which are %s in all and should be %s", describe(h, at), sum, total)
			})
		case low >= 0 && !opts.Overdraft:
			t.add(k.key, func() ([]int, string) {
				return []int{at}, fmt.Sprintf("%s, of which account %d is below zero", describe(h, at), low)
			})
		}
	}
	return t
}

// sumOf adds up, and names the first account that is below zero; -1 for none.
func sumOf(balances history.List) (sum history.Value, low int) {
	low = -1
	for i, b := range balances {
		sum += b
		if b < 0 && low < 0 {
			low = i
		}
	}
	return sum, low
}

func usualTotal(h *history.History, k keyView) history.Value {
	seen := make(map[history.Value]int)
	var best history.Value
	for i, n := 0, k.len(); i < n; i++ {
		if balances, _ := seenList(h, k.at(i)); len(balances) > 0 {
			sum, _ := sumOf(balances)
			if len(seen) == 0 {
				best = sum
			}
			seen[sum]++
		}
	}
	// In the order of the reads, so that the first of equals is taken.
	for i, n := 0, k.len(); i < n; i++ {
		if balances, _ := seenList(h, k.at(i)); len(balances) > 0 {
			if sum, _ := sumOf(balances); seen[sum] > seen[best] {
				best = sum
			}
		}
	}
	return best
}
