//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/trust"
)

var update = flag.Bool("update", false, "write the output of the commands into store/README.md")

// cluster is a running `assay cluster`.
type cluster struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Reader // what it prints after it is ready
	told  string        // what it printed till then
	addrs []string      // of clients
	pids  []int
	dir   string
}

func startCluster(t *testing.T, args ...string) *cluster {
	c := &cluster{t: t}
	c.cmd = exec.Command(os.Args[0], append([]string{"cluster", "--port", "0"}, args...)...)
	c.cmd.Env = append(os.Environ(), asCommand+"=1", "TMPDIR="+t.TempDir())
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	var errs bytes.Buffer
	c.cmd.Stderr = &errs
	began := time.Now()
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, c.cmd.Process.Signal(os.Interrupt))
		_, _ = io.Copy(io.Discard, out)
		require.NoError(t, c.cmd.Wait(), errs.String())
		for _, pid := range c.pids {
			require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "node with pid %d still runs", pid)
		}
	})
	c.lines = bufio.NewReader(out)
	c.told = c.until("Ctrl-C")
	t.Logf("ready after %v", time.Since(began))
	for _, m := range regexp.MustCompile(`(?m)^\d+ +https?://(\S+) +(\d+)$`).FindAllStringSubmatch(c.told, -1) {
		pid, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		c.addrs, c.pids = append(c.addrs, m[1]), append(c.pids, pid)
	}
	c.dir = regexp.MustCompile(`logs are in (\S+)`).FindStringSubmatch(c.told)[1]
	return c
}

// until reads lines up to one with the words.
func (c *cluster) until(words string) string {
	c.t.Helper()
	var all strings.Builder
	for {
		line, err := c.lines.ReadString('\n')
		all.WriteString(line)
		require.NoError(c.t, err, "the cluster ended: %s", all.String())
		if strings.Contains(line, words) {
			return all.String()
		}
	}
}

func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// What a person does with a cluster: write here, read there, kill one, start it
// again.
func TestClusterToPlayWith(t *testing.T) {
	c := startCluster(t)
	require.Len(t, c.addrs, 3)
	ctx := inTime(t)
	open := func(node int) *client.Client {
		cl := client.New(c.addrs[node])
		t.Cleanup(cl.Close)
		return cl
	}
	_, err := open(0).Put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	got, err := open(2).Get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Value))

	require.NoError(t, syscall.Kill(c.pids[2], syscall.SIGKILL))
	c.until("node 2 has ended: signal: killed")
	_, err = open(0).Put(ctx, "a", []byte("2"))
	require.NoError(t, err)
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGUSR1))
	line := c.until("node 2 is started again")
	pid, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndex(line, " ")+1:]))
	require.NoError(t, err)
	c.pids = append(c.pids, pid)
	require.Eventually(t, func() bool {
		got, err := open(2).Get(ctx, "a")
		return err == nil && string(got.Value) == "2"
	}, 10*time.Second, 10*time.Millisecond)
	h, err := open(2).Health(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, h.Boot)
}

// A closed cluster leaves nothing behind, but in a directory that was given.
func TestClusterDirectory(t *testing.T) {
	var temporary string
	t.Run("temporary", func(t *testing.T) {
		c := startCluster(t, "--nodes", "1", "--profile", "one-one")
		temporary = c.dir
		require.FileExists(t, filepath.Join(c.dir, "node0.log"))
	})
	require.NoDirExists(t, temporary)

	dir := t.TempDir()
	for boot := 1; boot <= 2; boot++ {
		t.Run(fmt.Sprintf("kept %d", boot), func(t *testing.T) {
			c := startCluster(t, "--nodes", "2", "--dir", dir, "--log-format", "json")
			cl := client.New(c.addrs[1])
			defer cl.Close()
			if boot == 1 {
				_, err := cl.Put(inTime(t), "a", []byte("1"))
				require.NoError(t, err)
			}
			got, err := cl.Get(inTime(t), "a")
			require.NoError(t, err)
			require.Equal(t, "1", string(got.Value))
		})
		log, err := os.ReadFile(filepath.Join(dir, "node1.log"))
		require.NoError(t, err)
		require.Contains(t, string(log), `"msg":"node stopped"`)
	}
}

func TestClusterWithTLS(t *testing.T) {
	c := startCluster(t, "--tls")
	files := trust.Files{CA: filepath.Join(c.dir, "ca.pem"), Cert: filepath.Join(c.dir, "client.pem"), Key: filepath.Join(c.dir, "client-key.pem")}
	who, err := trust.Load(files)
	require.NoError(t, err)
	a, b := client.NewTLS(c.addrs[0], who), client.NewTLS(c.addrs[2], who)
	defer a.Close()
	defer b.Close()
	_, err = a.Put(inTime(t), "k", []byte("v"))
	require.NoError(t, err)
	got, err := b.Get(inTime(t), "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(got.Value))
	_, err = http.Get("https://" + c.addrs[0] + "/healthz")
	require.ErrorContains(t, err, "certificate")
	plain := client.New(c.addrs[0])
	defer plain.Close()
	_, err = plain.Get(inTime(t), "k")
	require.Error(t, err)
}

func TestClusterMistakes(t *testing.T) {
	busy := startCluster(t, "--nodes", "1")
	port := busy.addrs[0][strings.LastIndex(busy.addrs[0], ":")+1:]
	for args, words := range map[string]string{
		"--nodes 0":                  "--nodes is 0",
		"--nodes 65":                 "1 to 64",
		"--nodes 3 --n 4":            "N is 4",
		"--profile best":             "unknown profile",
		"--nodes 1 --port " + port:   "give the first of 4 free ones with --port",
		"--dir /dev/null/x --port 0": "--dir",
	} {
		_, stderr, code := assay(t, t.TempDir(), append([]string{"cluster"}, strings.Fields(args)...)...)
		require.Equal(t, 3, code, args)
		require.Contains(t, stderr, words, args)
	}
}

// Every command in a block "console cluster" of the store's page prints what
// the page shows, when it is run against a fresh cluster. A block "console cluster
// NAME" has a cluster of its own, with that profile.
//
//	go test ./cmd/assay -run StorePage -update
func TestStorePage(t *testing.T) {
	const page = "../../store/README.md"
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	// By profile: ports as on the page to those of the cluster, and back.
	type ports struct{ here, there *strings.Replacer }
	clusters := make(map[string]ports)
	start := func(profile string) ports {
		args := []string{}
		if profile != "" {
			args = append(args, "--profile", profile)
		}
		var here, there []string
		for i, addr := range startCluster(t, args...).addrs {
			port := fmt.Sprintf("127.0.0.1:%d", 7801+2*i)
			here, there = append(here, port, addr), append(there, addr, port)
		}
		return ports{strings.NewReplacer(here...), strings.NewReplacer(there...)}
	}
	var b strings.Builder
	var at ports
	in, shown, ran := false, true, 0
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		profile, begins := strings.CutPrefix(line, "```console cluster")
		switch {
		case begins:
			profile = strings.TrimSpace(profile)
			if _, runs := clusters[profile]; !runs {
				clusters[profile] = start(profile)
			}
			in, at = true, clusters[profile]
		case in && line == "```\n":
			in, shown = false, true
		case in && isCommand:
			b.WriteString(line)
			out, _ := exec.Command("sh", "-c", at.here.Replace(command)).CombinedOutput() // what fails is shown
			for o := range strings.Lines(at.there.Replace(string(out))) {
				b.WriteString(strings.TrimRight(o, " \r\n") + "\n")
			}
			shown = false
			ran++
			continue
		}
		if shown {
			b.WriteString(line)
		}
	}
	require.NotZero(t, ran)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(b.String()), 0o644))
		return
	}
	require.Equal(t, string(text), b.String(), "the page is out of date: go test ./cmd/assay -run StorePage -update")
}
