package matrix

import (
	"fmt"
	"strings"

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
	if len(rows) == 0 {
		return nil, fmt.Errorf("none of the profiles can do any of the workloads %s", strings.Join(works, ", "))
	}
	return rows, nil
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
