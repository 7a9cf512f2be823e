package matrix_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/results/claims"
	"github.com/assay-chaos/assay/results/matrix"
	"github.com/assay-chaos/assay/store/sut"
)

// referenceFile is what the command that it names has printed.
const referenceFile = "../reference/matrix.json"

type referenceCell struct {
	Group, Row, Column, Expected, Observed, Note string
	Runs, Broken, Unknown, Failed                int
}

// The committed matrix still agrees: a part of it, made again, is the same. (All
// of it is compared in CI, by .ci/run.)
func TestReference(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	require.NoError(t, err)
	var ref struct {
		Command string
		Exit    int
		Cells   []referenceCell
	}
	require.NoError(t, json.Unmarshal(text, &ref))
	require.Zero(t, ref.Exit, "a promise is broken in the committed matrix")
	want := map[string]referenceCell{}
	rows := map[string]bool{}
	for _, c := range ref.Cells {
		want[c.Group+"/"+c.Row+"/"+c.Column] = c
		name, _, _ := strings.Cut(c.Row, " ")
		rows[name] = true
	}
	for _, p := range sut.Profiles() {
		require.True(t, rows[p.Name], "profile %s is not in the committed matrix: make it again (%s)", p.Name, ref.Command)
	}

	cfg := matrix.Config{Base: matrix.Base(), Profiles: []string{"majority-lww", "abd", "caspaxos"}, Nodes: []int{3, 5}, Claims: claims.All(), Runs: 20}
	cfg.Base.Seed = 1
	cfg.Mixes, err = matrix.ParseMixes("none,clock")
	require.NoError(t, err)
	m, err := matrix.Run(t.Context(), cfg)
	require.NoError(t, err)
	compared := 0
	for _, row := range m.Rows {
		for j, c := range row.Cells {
			key := row.Group + "/" + row.Name + "/" + m.Columns[j]
			got := referenceCell{row.Group, row.Name, m.Columns[j], c.Expected.String(), c.Observed().String(), c.Note, c.Runs, c.Broken, c.Unknown, c.Failed}
			require.Equal(t, want[key], got, "%s: if it should have changed, make the committed matrix again: %s --save results/reference", key, ref.Command)
			compared++
		}
	}
	require.Equal(t, 3*2*2*len(claims.All()), compared)
}

// The grid has every R and W, and what theory expects of them.
func TestGrid(t *testing.T) {
	cfg := matrix.Config{Base: matrix.Base(), Profiles: []string{"majority-query-tag"}, Grid: 3, Claims: claims.All(), Runs: 1, Prices: true}
	var err error
	cfg.Mixes, err = matrix.ParseMixes("none")
	require.NoError(t, err)
	m, err := matrix.Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Len(t, m.Rows, 9*len(claims.All()))
	require.Equal(t, "majority-query-tag 3/1/1", m.Rows[0].Name)
	require.Equal(t, "majority-query-tag 3/3/3", m.Rows[8].Name)
	require.Len(t, m.Prices.Rows, 9)
	for _, r := range m.Prices.Rows {
		require.Len(t, r.Cells, 4, r.Name)
		require.Positive(t, r.Cells[0].Reads.OK, r.Name)
		require.Positive(t, r.Cells[0].StaleOf, r.Name)
		require.Positive(t, r.Cells[3].Writes.Total(), r.Name)
	}
	// The minority side of 3/1/1 serves, that of 3/3/3 does not.
	weak, strong := m.Prices.Rows[0].Cells, m.Prices.Rows[8].Cells
	require.Equal(t, weak[3].Writes.Total(), weak[3].Writes.OK)
	require.Zero(t, strong[3].Writes.OK)
	require.Equal(t, strong[0].Writes.Total(), strong[0].Writes.OK)

	cfg.Profiles = []string{"caspaxos"}
	_, err = matrix.Run(t.Context(), cfg)
	require.ErrorContains(t, err, "--grid")
}
