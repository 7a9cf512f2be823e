package sim

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// diskWorld has one node whose disk the test uses directly.
func diskWorld(t *testing.T, seed uint64, cfg DiskConfig) (*World, *Disk) {
	cfg.Sync = exactly(time.Millisecond)
	w := newWorld(t, Config{Nodes: 1, Seed: seed, Disk: cfg})
	return w, w.Disk(0)
}

func crash(t *testing.T, w *World) {
	t.Helper()
	require.NoError(t, w.Kill(bg, 0, time.Minute))
	require.NoError(t, w.Start(bg, 0))
}

func TestDiskFiles(t *testing.T) {
	_, d := diskWorld(t, 1, DiskConfig{})
	require.Nil(t, d.Read("a"))
	require.EqualValues(t, -1, d.Size("a"))
	d.Append("a", []byte("hello "))
	d.Append("a", []byte("world"))
	d.Append("b", nil)
	require.Equal(t, "hello world", string(d.Read("a")))
	require.EqualValues(t, 11, d.Size("a"))
	require.Equal(t, []string{"a", "b"}, d.Files())

	before := d.Read("a")
	d.Truncate("a", 6)
	d.Append("a", []byte("there"))
	require.Equal(t, "hello there", string(d.Read("a")))
	require.Equal(t, "hello world", string(before), "what was read does not change")

	d.Rename("a", "b")
	require.Equal(t, []string{"b"}, d.Files())
	require.Equal(t, "hello there", string(d.Read("b")))
	d.Remove("b")
	d.Remove("b")
	require.Empty(t, d.Files())
}

func TestDiskMisuseFailsTheRun(t *testing.T) {
	for want, misuse := range map[string]func(d *Disk){
		`truncate "a" to 1 bytes: its size is -1`: func(d *Disk) { d.Truncate("a", 1) },
		`truncate "b" to 9 bytes: its size is 1`:  func(d *Disk) { d.Append("b", []byte("x")); d.Truncate("b", 9) },
		`rename "a" to "b": no such file`:         func(d *Disk) { d.Rename("a", "b") },
	} {
		w, d := diskWorld(t, 1, DiskConfig{})
		misuse(d)
		_, err := w.Wait(bg, 1, nil)
		require.ErrorContains(t, err, "node 0 (incarnation 1): disk: "+want)
	}
}

// What was synced before a crash is there after it, and of the rest a prefix,
// but for the write at its end. Over many seeds everything that may happen
// does.
func TestCrashKeepsPrefix(t *testing.T) {
	var all, none, some, torn, garbage int
	for seed := range uint64(300) {
		w, d := diskWorld(t, seed, DiskConfig{})
		d.Append("log", []byte("durable."))
		d.Sync(1)
		pass(t, w, 2*time.Millisecond)
		var whole bytes.Buffer
		whole.WriteString("durable.")
		ends := map[int]bool{whole.Len(): true}
		for i := range 5 {
			p := bytes.Repeat([]byte{byte('a' + i)}, 10)
			d.Append("log", p)
			whole.Write(p)
			ends[whole.Len()] = true
		}
		d.Sync(2) // will not be complete
		crash(t, w)
		got := d.Read("log")
		require.True(t, bytes.HasPrefix(got, []byte("durable.")))

		same := 0
		for same < len(got) && got[same] == whole.Bytes()[same] {
			same++
		}
		require.Less(t, len(got)-same, 11, "only one write may be damaged")
		switch {
		case same < len(got):
			garbage++
		case len(got) == whole.Len():
			all++
		case len(got) == len("durable."):
			none++
		case ends[len(got)]:
			some++
		default:
			torn++
		}

		// What has survived is durable now.
		crash(t, w)
		require.Equal(t, got, d.Read("log"))
	}
	t.Logf("all %d, none %d, some %d, torn %d, garbage %d", all, none, some, torn, garbage)
	for _, n := range []int{all, none, some, torn, garbage} {
		require.Greater(t, n, 10)
	}
}

func TestNoTornWrites(t *testing.T) {
	for seed := range uint64(100) {
		w, d := diskWorld(t, seed, DiskConfig{NoTornWrites: true})
		for range 5 {
			d.Append("log", []byte("0123456789"))
		}
		crash(t, w)
		require.Equal(t, strings.Repeat("0123456789", len(d.Read("log"))/10), string(d.Read("log")))
	}
}

func TestKeepUnsynced(t *testing.T) {
	w, d := diskWorld(t, 1, DiskConfig{KeepUnsynced: true})
	for range 1000 {
		d.Append("log", []byte("0123456789"))
	}
	crash(t, w)
	require.EqualValues(t, 10_000, d.Size("log"))
	require.Empty(t, d.changes)
}

// Old data is durable without a sync, and needs no memory to undo it.
func TestWriteBack(t *testing.T) {
	for seed := range uint64(50) {
		w, d := diskWorld(t, seed, DiskConfig{WriteBack: time.Second})
		d.Append("log", []byte("old"))
		pass(t, w, 1100*time.Millisecond)
		d.Append("log", []byte("new"))
		require.Len(t, d.changes[d.head:], 1)
		crash(t, w)
		require.True(t, bytes.HasPrefix(d.Read("log"), []byte("old")))
	}
	w, d := diskWorld(t, 1, DiskConfig{WriteBack: -1})
	for range 100 {
		d.Append("log", []byte("x"))
		pass(t, w, time.Minute)
	}
	require.Len(t, d.changes[d.head:], 101)
}

// Names and truncations come back when they were not synced, and stay changed
// when they were.
func TestCrashUndoesNames(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(300) {
		w, d := diskWorld(t, seed, DiskConfig{})
		d.Append("old", []byte("old content"))
		d.Append("gone", []byte("x"))
		d.Sync(1)
		pass(t, w, 2*time.Millisecond)
		d.Truncate("old", 3)
		d.Append("new", []byte("new"))
		d.Rename("new", "old")
		d.Remove("gone")
		crash(t, w)

		state := strings.Join(d.Files(), " ") + ": " + string(d.Read("old"))
		switch s := string(d.Read("old")); {
		case s == "old", s == "old content", s == "new":
		case len(d.Files()) < 3 && len(s) <= 3: // the new file, empty or torn
			state = strings.Join(d.Files(), " ") + ": torn"
		default:
			t.Fatalf("seed %d: %s", seed, state)
		}
		outcomes[state]++
	}
	t.Log(outcomes)
	for _, state := range []string{
		"gone old: old content", "gone old: old", // no name survived; the truncation may have
		"gone new old: old content", // the creation survived
		"gone old: new",             // the renaming as well
		"old: new",                  // everything
		"old: torn",                 // a renamed file without its content
	} {
		require.Positive(t, outcomes[state], state)
	}

	w, d := diskWorld(t, 1, DiskConfig{})
	d.Append("a", []byte("content"))
	d.Rename("a", "b")
	d.Truncate("b", 4)
	d.Sync(1)
	pass(t, w, 2*time.Millisecond)
	crash(t, w)
	require.Equal(t, []string{"b"}, d.Files())
	require.Equal(t, "cont", string(d.Read("b")))
}

// A sync covers what was done before it was asked for, not before it is
// complete; and syncs complete in order.
func TestSyncCoversWhatCameBefore(t *testing.T) {
	var tokens []uint64
	w := newWorld(t, Config{Nodes: 1, Seed: 9, System: toy{func(Host) (Node, error) {
		return &puppet{synced: func(token uint64) { tokens = append(tokens, token) }}, nil
	}}})
	d := w.Disk(0)
	for i := range uint64(100) {
		d.Append("log", []byte{byte(i)})
		d.Sync(i)
	}
	d.Append("log", []byte("after the last sync"))
	pass(t, w, time.Second)
	require.Len(t, tokens, 100)
	require.IsIncreasing(t, tokens)
	require.Len(t, d.changes[d.head:], 1)
}
