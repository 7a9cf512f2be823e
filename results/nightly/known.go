package nightly

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/assay-chaos/assay/checkers"
	"github.com/assay-chaos/assay/results"
	"github.com/assay-chaos/assay/results/experiment"
)

// knownFile has what broke in earlier nights. It is meant to be kept between
// nights, and may be committed.
const knownFile = "failing.json"

// Known is a run that broke a promise once. It is run again every night, also
// after it was mended.
type Known struct {
	Test    results.Test     `json:"test"`
	Claims  []checkers.Claim `json:"claims"` // that were broken
	First   string           `json:"first"`  // the night in which it was found
	Last    string           `json:"last"`   // the last one in which it was broken
	Command string           `json:"command"`
}

type knownJSON struct {
	Schema int      `json:"schema"`
	Runs   []*Known `json:"runs"`
}

func readKnown(dir string) ([]*Known, error) {
	path := filepath.Join(dir, knownFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nightly: what broke in earlier nights cannot be read: %w", err)
	}
	var in knownJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("nightly: %s cannot be read: %w (mend it, or move it away to begin anew)", path, err)
	}
	if in.Schema != results.Schema {
		return nil, fmt.Errorf("nightly: %s has schema %d; this assay reads %d", path, in.Schema, results.Schema)
	}
	return in.Runs, nil
}

func writeKnown(dir string, known []*Known) error {
	if len(known) == 0 {
		return nil
	}
	return results.WriteJSON(filepath.Join(dir, knownFile), knownJSON{Schema: results.Schema, Runs: known})
}

// replay runs again what broke earlier, until the time is over.
func (n *night) replay(ctx context.Context, known []*Known, until time.Time) {
	began := time.Now()
	stage := n.summary.stage("known")
	for i, k := range known {
		if ctx.Err() != nil {
			return
		}
		if time.Now().After(until) {
			n.summary.note("%d of %d runs that broke in earlier nights were not run again: there was no time", len(known)-i, len(known))
			break
		}
		n.tell("earlier failures: %d of %d", i+1, len(known))
		s, err := experiment.FromRecord(k.Test)
		if err != nil {
			n.summary.note("a run that broke on %s cannot be run again: %v", k.First, err)
			continue
		}
		if !n.has(s.World) {
			n.summary.note("a run that broke on %s was not run again: it needs the world %s", k.First, s.World)
			continue
		}
		if s.World == experiment.Docker {
			n.containOne(ctx, stage, &s)
			continue
		}
		s.Budget = checkers.Budget{Time: -1, Memory: 4 << 30}
		out, err := experiment.Execute(ctx, s, experiment.Options{})
		worse, e := stage.add(&s, out, err)
		if e == nil && worse {
			e = n.keep(ctx, stage, &s)
		}
		if e != nil {
			n.summary.note("%v", e)
		}
	}
	stage.Took += time.Since(began)
}

// learn adds the night's failures to what is known.
func (n *night) learn(known []*Known) []*Known {
	for _, f := range n.summary.Failures {
		if len(f.Claims) == 0 {
			continue // it failed by itself, which is no promise of the store's
		}
		at := slices.IndexFunc(known, func(k *Known) bool { return k.Command == f.Command })
		if at < 0 {
			at = len(known)
			known = append(known, &Known{Test: f.Test, First: n.cfg.Date, Command: f.Command})
		}
		known[at].Last, known[at].Claims = n.cfg.Date, f.Claims
	}
	return known
}
