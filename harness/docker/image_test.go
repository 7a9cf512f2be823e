package docker

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestImageTar(t *testing.T) {
	source := filepath.Join(t.TempDir(), "node")
	require.NoError(t, os.WriteFile(source, []byte("program"), 0o600))
	files := []File{
		{Path: "/usr/bin/node", Source: source},
		{Path: "/etc/node.conf", Data: []byte("x"), Mode: 0o644},
		{Path: "/usr/bin/other", Data: []byte{}},
	}
	archive, err := imageTar(files)
	require.NoError(t, err)

	type entry struct {
		name, data string
		mode       int64
	}
	var got []entry
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		got = append(got, entry{h.Name, string(data), h.Mode})
	}
	require.Equal(t, []entry{
		{"etc/", "", 0o755}, {"etc/node.conf", "x", 0o644},
		{"usr/", "", 0o755}, {"usr/bin/", "", 0o755}, {"usr/bin/node", "program", 0o755},
		{"usr/bin/other", "", 0o755},
	}, got)

	files[0], files[1] = files[1], files[0]
	again, err := imageTar(files)
	require.NoError(t, err)
	require.Equal(t, archive, again, "the name of an image is made from these bytes")
}

func TestImageTarRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files []File
		want  string
	}{
		"nothing":        {nil, "neither a reference nor files"},
		"relative":       {[]File{{Path: "node"}}, "absolute"},
		"climbing":       {[]File{{Path: "/../node"}}, "clean"},
		"root":           {[]File{{Path: "/"}}, "absolute"},
		"twice":          {[]File{{Path: "/a"}, {Path: "/a"}}, "twice"},
		"file as parent": {[]File{{Path: "/a/b"}, {Path: "/a/b/c"}}, "/a/b is a file too"},
		"directory too":  {[]File{{Path: "/a/b"}, {Path: "/a"}}, "/a is a file too"},
		"missing":        {[]File{{Path: "/a", Source: "/nonexistent"}}, "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imageTar(c.files)
			require.ErrorContains(t, err, c.want)
		})
	}
}
