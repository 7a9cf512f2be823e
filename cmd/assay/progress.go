package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/assay-chaos/assay/harness"
)

// teller tells people how long work goes on: on a terminal in one line that is
// written over, elsewhere in a line now and then.
type teller struct {
	mu    sync.Mutex
	w     *os.File
	quiet bool
	tty   bool
	live  bool // a line stands there to be written over
	last  time.Time
}

// plainInterval is how often a line is printed where lines cannot be written
// over.
const plainInterval = 5 * time.Second

func newTeller(w *os.File, quiet bool) *teller {
	return &teller{w: w, quiet: quiet, tty: term.IsTerminal(int(w.Fd()))}
}

// line prints a line that stays.
func (t *teller) line(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quiet {
		return
	}
	t.clear()
	fmt.Fprintf(t.w, format+"\n", args...)
}

// update prints a line that the next one replaces.
func (t *teller) update(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.quiet:
	case t.tty:
		t.clear()
		if width, _, err := term.GetSize(int(t.w.Fd())); err == nil && len(text) > width-1 {
			text = text[:max(width-1, 0)]
		}
		fmt.Fprint(t.w, text)
		t.live = true
	case time.Since(t.last) >= plainInterval:
		t.last = time.Now()
		fmt.Fprintln(t.w, text)
	}
}

// clear removes the line that is there to be replaced.
func (t *teller) clear() {
	if t.live {
		fmt.Fprint(t.w, "\r\x1b[K")
		t.live = false
	}
}

// end leaves the cursor at the start of an empty line.
func (t *teller) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}

// snapshot tells how a run goes.
func (t *teller) snapshot(s harness.Snapshot) {
	faults := "no fault in force"
	if len(s.InForce) > 0 {
		faults = strings.Join(s.InForce, " + ")
	}
	t.update(fmt.Sprintf("%4.1f of %.0f s  %-8s %7d operations  %d ok  %d fail  %d info  %s",
		s.Elapsed.Seconds(), s.Total.Seconds(), s.Phase, s.Invoked, s.OK, s.Fail, s.Info, faults))
}
