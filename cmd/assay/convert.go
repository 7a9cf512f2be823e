package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/harness/history"
	"github.com/assay-chaos/assay/results"
)

const convertHelp = `Write a history in another format.

The formats are assay (our own), jsonl (JSON lines) and edn (Jepsen's); log,
Jepsen's text log, can be read only. What IN is in is recognised from its
content, and OUT's format from the end of its name; --from and --to say it
otherwise. A run directory stands for the history in it, and "-" for standard
input or output.

No operation is lost, nor anything of one: times are in nanoseconds, and values,
texts, transactions and lists stay what they are. EDN cannot say everything else
(phases, proofs of faults, equal times); what is lost so is told.`

func convertCommand() *cobra.Command {
	var from, to string
	var force, quiet bool
	c := &cobra.Command{
		Use:   "convert IN OUT",
		Short: "write a history in another format",
		Long:  convertHelp,
		Example: `  assay convert results/runs/abd-1 abd.edn
  assay convert store.edn store.jsonl
  assay convert --to jsonl history.assay - | head`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			format := history.Format(to)
			if to == "" {
				var told bool
				if format, told = history.FormatOf(args[1]); !told {
					return fmt.Errorf("%s does not tell its format: name it *.assay, *.jsonl or *.edn, or say which with --to", args[1])
				}
			}
			h, err := importFrom(args[0], history.Format(from))
			if err != nil {
				return err
			}
			// Whole or not at all.
			var b bytes.Buffer
			if err := history.Export(&b, h, format); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if lost := history.Lost(h, format); len(lost) > 0 && !quiet {
				fmt.Fprintf(os.Stderr, "assay: %s cannot say %s\n", format, strings.Join(lost, ", nor "))
			}
			if h.Cut != nil && !quiet {
				fmt.Fprintf(os.Stderr, "assay: %s is converted as far as it can be read: %v\n", args[0], h.Cut)
			}
			return writeTo(c.OutOrStdout(), args[1], b.Bytes(), force)
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "the format of IN: assay, jsonl, edn, log (default: as its content says)")
	f.StringVar(&to, "to", "", "the format of OUT: assay, jsonl, edn (default: as its name says)")
	f.BoolVar(&force, "force", false, "replace OUT if it is there")
	f.BoolVarP(&quiet, "quiet", "q", false, "do not tell what cannot be said in OUT's format")
	return c
}

// importFrom reads a file, standard input or a run directory.
func importFrom(name string, format history.Format) (*history.History, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		dir, err := results.Open(name)
		if err != nil {
			return nil, err
		}
		name = dir.HistoryPath()
	}
	var r io.Reader = os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	if format != "" {
		return history.ImportAs(r, name, format)
	}
	return history.Import(r, name)
}

// writeTo makes a file, or writes to standard output.
func writeTo(stdout io.Writer, name string, content []byte, force bool) error {
	if name == "-" {
		_, err := stdout.Write(content)
		return err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if force {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(name, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: give another name, or --force to replace it", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil && !force {
		return errors.Join(err, os.Remove(name)) // half a file is worse than none
	}
	return err
}
