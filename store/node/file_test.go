package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/replica"
)

// parse takes a command line, which may name a file, without running a node.
func parse(t *testing.T, args ...string) (*CommandLine, error) {
	c := NewCommandLine()
	f := pflag.NewFlagSet("node", pflag.ContinueOnError)
	c.RegisterFlags(f)
	require.NoError(t, f.Parse(append(args, "--print-config")))
	return c, c.Run(context.Background(), new(bytes.Buffer), nil)
}

func settingsFile(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// What a file says holds, and a flag counts more.
func TestSettingsFile(t *testing.T) {
	path := settingsFile(t, `
# two nodes
id: 1
peers:
  - 10.0.0.1:7800
  - "10.0.0.2:7800"
stamps: wall
write-back: false
timeout: 250ms
max-in-flight: 7
log-format: json
log-level: warn
`)
	c, err := parse(t, "--config", path, "--max-in-flight=9", "--peers=a:1,b:1,c:1")
	require.NoError(t, err)
	want := DefaultConfig()
	want.ID, want.Stamps, want.WriteBack, want.Timeout = 1, replica.WallClock, false, 250*time.Millisecond
	want.MaxInFlight, want.Peers = 9, []string{"a:1", "b:1", "c:1"}
	require.Equal(t, want, c.Config)
	require.Equal(t, LogConfig{JSON: true, Level: slog.LevelWarn}, c.Log)

	c, err = parse(t, "--config", path)
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.1:7800", "10.0.0.2:7800"}, c.Config.Peers)
	c, err = parse(t, "--config", settingsFile(t, "# nothing\n"))
	require.NoError(t, err)
	require.Equal(t, DefaultConfig(), c.Config)
}

// A printed file makes the same node again, whatever the values are.
func TestPrintedSettingsRoundTrip(t *testing.T) {
	for _, cfg := range []Config{
		DefaultConfig(),
		{
			ID: 1, Cluster: "no", Peers: []string{"[::1]:1", "10.0.0.2:1"}, N: 2, R: 1, W: 2,
			Stamps: replica.WallClock, Timeout: 3 * time.Second, Retry: time.Millisecond,
			MaxInFlight: 7, Dir: "a: #'dir\" ", ListenPeer: ":1", ListenClient: "null",
		},
	} {
		c := CommandLine{Config: cfg, Log: LogConfig{JSON: true, Level: slog.LevelError}}
		var b strings.Builder
		require.NoError(t, c.WriteFile(&b))
		got, err := parse(t, "--config", settingsFile(t, b.String()))
		require.NoError(t, err, b.String())
		if len(got.Config.Peers) == 0 {
			got.Config.Peers = nil
		}
		require.Equal(t, c.Config, got.Config, b.String())
		require.Equal(t, c.Log, got.Log)
		for line := range strings.Lines(b.String()) {
			require.Less(t, len(line), 160)
		}
	}
}

// Each mistake is named with its line, its field and a remedy.
func TestSettingsFileMistakes(t *testing.T) {
	for content, words := range map[string]string{
		"id: 0\nwritback: true":          `node.yaml:2: there is no setting "writback"; there are: `,
		"id: zero":                       `node.yaml:1: id cannot be "zero": give a whole number (this node's place`,
		"write-back: sometimes":          `give true or false`,
		"timeout: 5":                     `timeout cannot be "5": give a number with its unit`,
		"stamps: sundial":                `node.yaml:1: stamps cannot be "sundial": "sundial" is none of wall, logical and causal`,
		"log-level: loud":                `none of debug, info`,
		"id: 0\n\nid: 1":                 `node.yaml:3: id is set a second time, first in line 1`,
		"id:\n":                          `node.yaml:1: id has no value`,
		"id: [0]":                        `node.yaml:1: id is one plain value`,
		"peers:\n- a:1\n- {b: 1}":        `node.yaml:3: peers is a list of plain values`,
		"peers: {a: 1}":                  `node.yaml:1: peers is one plain value`,
		"- id":                           `node.yaml:1: this is no list of settings`,
		"rubbish":                        `node.yaml:1: this is no list of settings`,
		"id: 0\n---\nid: 1":              `a second document`,
		"id: 0\npeers: [a:1":             `this is not YAML: did not find expected`,
		"id: 0\n\tcluster: x":            `this is not YAML: `,
		"\xff\xfe\x00":                   `node.yaml:1: this is not YAML`,
		"config: other.yaml":             `there is no setting "config"`,
		"a: &a [*a]":                     `there is no setting "a"`,
		"peers: &p [x:1]\ncluster: *p":   `node.yaml:2: cluster is one plain value`,
		"? [a, b]\n: 1":                  `node.yaml:1: there is no setting ""`,
		strings.Repeat("[", 20000):       `node.yaml:1: this is not YAML`,
		"id: 99999999999999999999999999": `give a whole number`,
	} {
		_, err := parse(t, "--config", settingsFile(t, content))
		require.ErrorContains(t, err, words, "%q", content)
	}
	_, err := parse(t, "--config", filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml")
	require.ErrorContains(t, err, "--config")

	// What is wrong with the whole is told with the file too.
	c := NewCommandLine()
	f := pflag.NewFlagSet("node", pflag.ContinueOnError)
	c.RegisterFlags(f)
	require.NoError(t, f.Parse([]string{"--config", settingsFile(t, "id: 3")}))
	err = c.Run(context.Background(), nil, nil)
	require.ErrorContains(t, err, "node.yaml: node: ID (--id) is 3")
}

// No file brings the reader down.
func FuzzSettings(f *testing.F) {
	f.Add("id: 0\npeers: [a, b]\n")
	f.Add("? [x]\n: &a {b: *a}\n---\n")
	f.Fuzz(func(t *testing.T, content string) {
		c := NewCommandLine()
		c.RegisterFlags(pflag.NewFlagSet("node", pflag.ContinueOnError))
		if err := readSettings(strings.NewReader(content), c.settings); err != nil {
			require.Regexp(t, `^[0-9]+: `, err.Error())
		}
	})
}

func TestLogConfig(t *testing.T) {
	var b bytes.Buffer
	c := LogConfig{JSON: true, Level: slog.LevelWarn}
	log := c.Logger(&b)
	log.Info("not this")
	log.Warn("this", "node", 1)
	require.Contains(t, b.String(), `"msg":"this","node":1}`)
	require.NotContains(t, b.String(), "not this")
	b.Reset()
	log = new(LogConfig).Logger(&b)
	log.Info("that")
	require.Contains(t, b.String(), `level=INFO msg=that`)
}
