package matrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/experiment"
)

// row is one setting of the store: a row under every claim.
type row struct {
	label string // for the table
	file  string // for names of directories
	spec  experiment.Spec
}

// rows are the profiles for each size of the cluster, with each workload, and with
// Grid for every R and W of that N. Where a profile cannot do a workload there is
// no row, unless it was the only one asked for.
func (c *Config) rows() ([]row, error) {
	sizes := c.sizes()
	works := c.Workloads
	if len(works) == 0 {
		works = []string{c.Base.Workload}
	}
	var rows []row
	for _, nodes := range sizes {
		for _, profile := range c.Profiles {
			for _, work := range works {
				s := c.Base
				s.Profile, s.Nodes, s.Workload = profile, nodes, work
				if c.Grid > 0 {
					s.N = c.Grid
				}
				s.MakeRoom()
				if err := s.Validate(); err != nil {
					if len(works) > 1 && s.Unfit() {
						continue
					}
					return nil, err
				}
				grown, err := c.grown(s, len(sizes) > 1)
				if err != nil {
					return nil, err
				}
				for i := range grown {
					if len(works) > 1 {
						grown[i].label += " " + work
						grown[i].file += "-" + work
					}
				}
				rows = append(rows, grown...)
			}
		}
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return len(c.judged(&r)) == 0 })
	if len(rows) == 0 && len(c.Claims) > 0 {
		return nil, fmt.Errorf("none of the claims %s can be judged of the workloads %s, or no profile can do these", claims.List(c.Claims), strings.Join(works, ", "))
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("none of the profiles can do any of the workloads %s", strings.Join(works, ", "))
	}
	return rows, nil
}

// judged gives the claims that are judged of a row.
func (c *Config) judged(r *row) []checkers.Claim {
	if c.Claims == nil {
		return r.spec.Judged()
	}
	return slices.DeleteFunc(claims.Sorted(c.Claims), func(x checkers.Claim) bool { return !r.spec.CanJudge(x) })
}

// claims are all that are judged, in their order.
func (c *Config) claims(rows []row) []checkers.Claim {
	return slices.DeleteFunc(claims.Any(), func(x checkers.Claim) bool {
		return !slices.ContainsFunc(rows, func(r row) bool { return slices.Contains(c.judged(&r), x) })
	})
}

// grown gives the row of a spec, or those of its grid.
func (c *Config) grown(s experiment.Spec, sized bool) ([]row, error) {
	if c.Grid == 0 {
		r := row{label: s.Profile, file: s.Profile, spec: s}
		return []row{r}, r.name(sized)
	}
	var rows []row
	for s.R = 1; s.R <= c.Grid; s.R++ {
		for s.W = 1; s.W <= c.Grid; s.W++ {
			if err := s.Validate(); err != nil {
				return nil, fmt.Errorf("--grid: %w", err)
			}
			r := row{spec: s}
			if err := r.name(true); err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// name calls a row by its profile, and with N, R and W where others have the same.
func (r *row) name(numbers bool) error {
	r.label, r.file = r.spec.Profile, r.spec.Profile
	if !numbers {
		return nil
	}
	s, err := r.spec.Setting()
	r.label += fmt.Sprintf(" %d/%d/%d", s.N, s.R, s.W)
	r.file += fmt.Sprintf("-%d-%d-%d", s.N, s.R, s.W)
	return err
}

// sizes of the cluster.
func (c *Config) sizes() []int {
	if len(c.Nodes) > 0 {
		return c.Nodes
	}
	return []int{c.Base.Nodes}
}
