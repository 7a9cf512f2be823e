//go:build linux && amd64

package vdso

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const envTeller = "ASSAY_TEST_TELLER"

// TestMain makes this binary also a program that tells its clocks, a line for
// every line it reads: the wall clock in Unix nanoseconds, and the monotonic
// time since its start.
func TestMain(m *testing.M) {
	if os.Getenv(envTeller) == "" {
		os.Exit(m.Run())
	}
	start := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(start)))
	}
}

type teller struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startTeller(t *testing.T) *teller {
	t.Helper()
	cmd := exec.Command(os.Args[0]) // it ends with its input
	cmd.Env = append(os.Environ(), envTeller+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		require.NoError(t, cmd.Wait(), "the program must outlive what was done to its clock")
	})
	p := &teller{t, cmd, in, bufio.NewReader(out)}
	p.tell() // it runs
	return p
}

// tell gives how far its wall clock is from ours, at most slack too much, and
// its monotonic time.
func (p *teller) tell() (ahead, slack, monotonic time.Duration) {
	p.t.Helper()
	before := time.Now()
	_, err := io.WriteString(p.in, "\n")
	require.NoError(p.t, err)
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err)
	after := time.Now()
	var wall, mono int64
	_, err = fmt.Sscan(line, &wall, &mono)
	require.NoError(p.t, err)
	return time.Duration(wall - before.UnixNano()), after.Sub(before), time.Duration(mono)
}

func (p *teller) requireAhead(want time.Duration) {
	p.t.Helper()
	got, slack, _ := p.tell()
	require.GreaterOrEqual(p.t, got, want)
	require.LessOrEqual(p.t, got, want+slack)
}

func attach(t *testing.T, pid int) *Process {
	t.Helper()
	p, err := Attach(pid)
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("this system forbids a process to write to its child's memory, which needs CAP_SYS_PTRACE: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestClockOfAChild(t *testing.T) {
	child, bystander := startTeller(t), startTeller(t)
	p := attach(t, child.cmd.Process.Pid)
	for _, offset := range []time.Duration{0, time.Minute, -time.Minute, 1500 * time.Microsecond, -48 * time.Hour} {
		require.NoError(t, p.Set(offset, 0))
		child.requireAhead(offset)
		bystander.requireAhead(0)
	}

	again := attach(t, child.cmd.Process.Pid) // after an agent that died
	require.NoError(t, again.Set(time.Hour, 0))
	child.requireAhead(time.Hour)
	require.NoError(t, again.Restore())
	child.requireAhead(0)
}

func TestDriftOfAChild(t *testing.T) {
	child := startTeller(t)
	p := attach(t, child.cmd.Process.Pid)
	for _, drift := range []float64{0.5, -0.5, 9} {
		_, _, mono0 := child.tell()
		began := time.Now()
		require.NoError(t, p.Set(0, drift))
		set := time.Since(began)
		time.Sleep(200 * time.Millisecond) // what drifts needs time to do so
		elapsed := time.Since(began)
		ahead, slack, mono := child.tell()
		require.InDelta(t, float64(elapsed)*drift, float64(ahead), float64(slack)*(1+max(drift, -drift))+float64(set)*max(drift, -drift), "drift %v", drift)
		require.InDelta(t, elapsed, mono-mono0, float64(slack+set+50*time.Millisecond), "the monotonic clock goes on as before")
	}
	require.NoError(t, p.Restore())
	child.requireAhead(0)
}

func TestAttachRefuses(t *testing.T) {
	_, err := Attach(1 << 30)
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A program that is no Go program. That it answers proves that it is
	// loaded, and no copy of this one any more.
	other := exec.Command("cat")
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	defer func() { in.Close(); require.NoError(t, other.Wait()) }()
	_, err = io.WriteString(in, "\n")
	require.NoError(t, err)
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	p, err := Attach(other.Process.Pid)
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("this system forbids a process to write to its child's memory: %v", err)
	}
	require.Nil(t, p)
	require.ErrorIs(t, err, ErrNoClockPointer)
}

// BenchmarkSet is a change of a clock that is changed already.
func BenchmarkSet(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envTeller+"=1")
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	defer func() { in.Close(); require.NoError(b, cmd.Wait()) }()
	_, err = io.WriteString(in, "\n")
	require.NoError(b, err)
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	p, err := Attach(cmd.Process.Pid)
	require.NoError(b, err)
	defer p.Close()
	for b.Loop() {
		require.NoError(b, p.Set(time.Second, 0))
	}
	require.NoError(b, p.Restore())
}
