// Package docs tests the documentation: every command in a block marked
// "console" is run and must print what the page shows, every link to a file must
// lead to one, and the tutorial's code must be that of the examples. What the
// commands print is written anew by
//
//	go test ./docs -update
package docs

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the output of the commands into the pages")

// pages are all pages, relative to this directory.
func pages(t *testing.T) []string {
	var all []string
	for _, pattern := range []string{"../*.md", "*.md", "../examples/*.md", "../store/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.NotEmpty(t, all)
	return all
}

func TestCommandsPrintWhatThePagesShow(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command and runs it")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../cmd/assay")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, page := range pages(t) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			old, err := os.ReadFile(page)
			require.NoError(t, err)
			got := rerun(t, string(old), bin)
			if *update && got != string(old) {
				require.NoError(t, os.WriteFile(page, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(old), got, "the page is out of date: go test ./docs -update")
		})
	}
}

// rerun gives a page with the output of its commands as it is now. All commands
// of a block run in one fresh directory, which has the project's histories in
// the place where the project has them.
func rerun(t *testing.T, page, bin string) string {
	var b strings.Builder
	dir, status, shown := "", 0, true
	for line := range strings.Lines(page) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case line == "```console\n":
			dir, status = t.TempDir(), 0
			root, err := filepath.Abs("..")
			require.NoError(t, err)
			require.NoError(t, os.Symlink(filepath.Join(root, "harness"), filepath.Join(dir, "harness")))
		case dir != "" && line == "```\n":
			dir, shown = "", true
		case dir != "" && isCommand:
			b.WriteString(line)
			var out string
			out, status = shell(t, strings.TrimSpace(command), dir, bin, status)
			b.WriteString(out)
			shown = false
			continue
		}
		if shown {
			b.WriteString(line)
		}
	}
	return b.String()
}

// shell runs a command; $? in it is the status of the one before.
func shell(t *testing.T, command, dir, bin string, before int) (out string, status int) {
	cmd := exec.Command("sh", "-c", "(exit "+strconv.Itoa(before)+"); "+command)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		require.NoError(t, err, command)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String(), cmd.ProcessState.ExitCode()
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksLeadToFiles(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), m[1]))
			require.NoError(t, err, "a link in %s", page)
		}
	}
}

// code gives a line as the tutorial may show it: without indentation and
// comment.
func code(line string) string {
	line, _, _ = strings.Cut(line, " // ")
	return strings.TrimSpace(line)
}

// The tutorial may leave lines out (…), but shows no line that the examples do
// not have.
func TestTutorialShowsTheExamples(t *testing.T) {
	have := map[string]bool{}
	files, err := filepath.Glob("../examples/*/*.go")
	require.NoError(t, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			have[code(line)] = true
		}
	}
	text, err := os.ReadFile("your-store.md")
	require.NoError(t, err)
	inside, checked := false, 0
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```go\n"
		case inside && !strings.Contains(line, "…"):
			require.True(t, have[code(line)], "no example has the line %q", line)
			checked++
		}
	}
	require.NotZero(t, checked)
}
