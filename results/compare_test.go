package results

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/checkers"
)

func TestCompareRuns(t *testing.T) {
	a, b := sampleRun(brokenSample), sampleRun(brokenSample)
	a.Path, b.Path = "one", "two<b>\x1b[2J"
	b.Test.Seed++
	b.Verdicts.Results = append([]checkers.Result(nil), b.Verdicts.Results...)
	for i := range b.Verdicts.Results {
		b.Verdicts.Results[i].Verdict = checkers.Held
	}
	c, err := CompareRuns(a, b)
	require.NoError(t, err)
	var text, page bytes.Buffer
	require.NoError(t, c.Text(&text))
	require.Contains(t, text.String(), "≠ linearizable")
	require.Regexp(t, `seed +\d+ +\d+`, text.String())
	require.NotContains(t, text.String(), "profile ", "it is the same")
	require.NotContains(t, text.String(), "\x1b")
	require.True(t, strings.HasSuffix(text.String(), "\n"))
	require.NoError(t, c.HTML(&page))
	require.NotContains(t, page.String(), "two<b>")
	require.Contains(t, page.String(), "≠ changed")

	same, err := CompareRuns(a, a)
	require.NoError(t, err)
	for _, p := range same.Parts {
		for _, r := range p.Rows {
			require.False(t, r.Changed, r.Cells)
		}
	}
	b.Verdicts = nil
	_, err = CompareRuns(a, b)
	require.ErrorContains(t, err, "was not judged")
}
