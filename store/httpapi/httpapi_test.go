package httpapi

import (
	"net/url"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzEscapeKey(f *testing.F) {
	for _, k := range []string{"", "a", ".", "..", "...", "../a", "a/b", "%2F", "\x00\xff", "é"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		escaped := EscapeKey(key)
		got, err := UnescapeKey(escaped)
		require.NoError(t, err)
		require.Equal(t, key, got)
		u, err := url.Parse("http://node" + PathKV + escaped)
		require.NoError(t, err)
		require.Equal(t, PathKV+escaped, u.EscapedPath(), "it arrives as it was sent")
		if key != "" {
			require.Equal(t, PathKV+escaped, path.Clean(u.EscapedPath()), "nothing on the way can clean it")
		}
	})
}
