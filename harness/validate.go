package harness

import (
	"errors"
	"fmt"
	"math"
)

// validate says everything that is wrong with a test.
func (t *Test) validate(w World) error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if w == nil {
		return fmt.Errorf("test %q has no world to run in", t.Name)
	}
	nodes := w.Nodes()
	bad(nodes < 1 || nodes > math.MaxInt16, "the world has %d nodes: it must have 1 to %d", nodes, math.MaxInt16)
	bad(t.System == nil, "Test.System is nil: say what to test")
	bad(t.Workload.Generator == nil, "Workload.Generator is nil: see package gen")
	bad(len(t.Workload.Keys) == 0, "Workload.Keys is empty: name at least one key")
	seen := make(map[string]bool, len(t.Workload.Keys))
	for i, k := range t.Workload.Keys {
		bad(seen[k], "Workload.Keys[%d] is %q again: name each key once", i, k)
		seen[k] = true
	}
	bad(t.Clients < 1 || t.Clients > 1<<20, "Test.Clients is %d: it must be 1 to %d", t.Clients, 1<<20)
	bad(t.OpTimeout <= 0, "Test.OpTimeout is %v: it must be positive", t.OpTimeout)
	bad(t.Before < 0 || t.During < 0 || t.Recovery < 0 || t.Settle < 0, "Test.Before, During, Recovery and Settle must not be negative")
	bad(t.ReadBack != 0 && !t.ReadBack.ReadOnly(), "Test.ReadBack is %v: it must be a function that reads, or 0", t.ReadBack)
	bad(t.length() <= 0, "Test.Before, During and Recovery are all 0: nothing would be tested")
	for i, e := range t.Faults {
		bad(e.Fault == nil, "Test.Faults[%d].Fault is nil", i)
		bad(e.At < 0 || e.At >= t.During, "Test.Faults[%d] starts at %v of a fault phase of %v", i, e.At, t.During)
		bad(e.For <= 0, "Test.Faults[%d] lasts %v: it must be positive", i, e.For)
	}
	if len(errs) > 0 {
		return fmt.Errorf("test %q cannot run: %w", t.Name, errors.Join(errs...))
	}
	return nil
}
