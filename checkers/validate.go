package checkers

import (
	"fmt"
	"slices"
	"strings"
)

// Validate names the first field that makes no sense, and what would.
func (o Options) Validate() error {
	if o.Model != "" && !slices.Contains(Models(), o.Model) {
		return fmt.Errorf("unknown model %q; there are: %s", o.Model, strings.Join(Models(), ", "))
	}
	switch o.FailedCAS {
	case "", DropFailedCAS, ObserveFailedCAS:
	default:
		return fmt.Errorf("a failed compare-and-set cannot be %q; it can be %s or %s", o.FailedCAS, DropFailedCAS, ObserveFailedCAS)
	}
	switch o.NilRead {
	case "", NilAbsent, NilAny:
	default:
		return fmt.Errorf("a read of nil cannot tell %q; it can tell %s or %s", o.NilRead, NilAbsent, NilAny)
	}
	return nil
}
