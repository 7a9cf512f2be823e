package checkers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/harness/history"
)

// TestOutsideHistories judges histories recorded elsewhere, whose verdicts are
// known. Their provenance and meaning stand in
// harness/history/testdata/README.md.
func TestOutsideHistories(t *testing.T) {
	const root = "../harness/history/testdata"
	etcdBroken := map[string]bool{"etcd_000.log": true, "etcd_001.log": true, "etcd_010.log": true, "etcd_099.log": true}
	judged := 0
	for _, c := range []struct {
		glob   string
		model  string
		opts   Options
		broken func(path string) bool
	}{
		{"etcd/*.log", ModelCASRegister, Options{FailedCAS: ObserveFailedCAS},
			func(path string) bool { return etcdBroken[filepath.Base(path)] }},
		{"knossos/*/*.edn", ModelCASRegister, Options{Initial: valuePtr(0), NilRead: NilAny},
			func(path string) bool { return strings.Contains(path, "/bad/") }},
		{"kv/*.txt", ModelKV, Options{},
			func(path string) bool { return strings.HasSuffix(path, "-bad.txt") }},
	} {
		paths, err := filepath.Glob(filepath.Join(root, c.glob))
		require.NoError(t, err)
		require.NotEmpty(t, paths, c.glob)
		for _, path := range paths {
			model := c.model
			if strings.HasSuffix(path, "multi-register.edn") {
				model = ModelMultiRegister
			}
			t.Run(strings.TrimPrefix(path, root+"/"), func(t *testing.T) {
				f, err := os.Open(path)
				require.NoError(t, err)
				defer f.Close()
				h, err := history.Import(f, path)
				require.NoError(t, err)
				r := CheckModel(h, model, c.opts, Budget{Time: 30 * time.Second, Memory: 1 << 30})
				want := Held
				if c.broken(path) {
					want = Broken
				}
				require.Equal(t, want, r.Verdict, r.Reason)
				if want == Broken {
					require.NotEmpty(t, r.Ops, r.Reason)
				}
			})
			judged++
		}
	}
	require.Equal(t, 22, judged)
}
