package vdso

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// As /proc/PID/maps shows a small static Go program on Linux 6.18.
const exampleMaps = `00400000-0056c000 r-xp 00000000 08:01 1234 /usr/bin/my node
0056c000-006a0000 r--p 0016c000 08:01 1234 /usr/bin/my node
006a0000-006b0000 rw-p 002a0000 08:01 1234 /usr/bin/my node
006b0000-006e5000 rw-p 00000000 00:00 0
c000000000-c000400000 rw-p 00000000 00:00 0
7ffe0b000000-7ffe0b021000 rw-p 00000000 00:00 0 [stack]
7ffe0b1f0000-7ffe0b1f4000 r--p 00000000 00:00 0 [vvar]
7ffe0b1f6000-7ffe0b1f8000 r-xp 00000000 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
`

func TestParseMaps(t *testing.T) {
	m, err := parseMaps(strings.NewReader(exampleMaps), "/usr/bin/my node")
	require.NoError(t, err)
	require.Equal(t, span{0x7ffe0b1f6000, 0x7ffe0b1f8000}, m.vdso)
	require.Equal(t, []span{{0x6a0000, 0x6b0000}, {0x6b0000, 0x6e5000}}, m.data, "its data and bss, not its heap")
}

func TestParseMapsRefuses(t *testing.T) {
	_, err := parseMaps(strings.NewReader("00400000-0056c000 r-xp 00000000 08:01 1234 /x\n"), "/x")
	require.ErrorContains(t, err, "no vDSO")
	_, err = parseMaps(strings.NewReader("zz-1 r-xp 0 08:01 1\n"), "/x")
	require.ErrorContains(t, err, `bad range "zz-1"`)
	_, err = parseMaps(strings.NewReader("2-1 r-xp 0 08:01 1\n"), "/x")
	require.ErrorContains(t, err, "bad range")
}

func FuzzParseMaps(f *testing.F) {
	f.Add(exampleMaps, "/usr/bin/my node")
	f.Fuzz(func(t *testing.T, text, exe string) {
		m, err := parseMaps(strings.NewReader(text), exe)
		if err == nil && m.vdso.end < m.vdso.start {
			t.Fatalf("%+v", m)
		}
	})
}
