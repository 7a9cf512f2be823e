package node

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// CommandLine is a node as a person starts it: with flags, a settings file, or
// both. Flags count more than the file, and the file more than the defaults.
type CommandLine struct {
	Config Config
	Log    LogConfig

	settings *pflag.FlagSet // what may stand in a file
	file     string
	print    bool
}

// NewCommandLine gives the defaults of [DefaultConfig].
func NewCommandLine() *CommandLine {
	return &CommandLine{Config: DefaultConfig()}
}

// RegisterFlags adds all flags to f.
func (c *CommandLine) RegisterFlags(f *pflag.FlagSet) {
	c.settings = pflag.NewFlagSet("settings", pflag.ContinueOnError)
	c.settings.SortFlags = false // a printed file has them in the order of Config
	c.Config.RegisterFlags(c.settings)
	c.Log.RegisterFlags(c.settings)
	f.AddFlagSet(c.settings)
	f.StringVar(&c.file, "config", "", "read settings from this YAML file; flags count more")
	f.BoolVar(&c.print, "print-config", false, "write the settings as a commented file to stdout, and end")
}

// Run runs the node after the flags were parsed, until ctx is done. The log
// goes to stderr.
func (c *CommandLine) Run(ctx context.Context, stdout, stderr io.Writer) error {
	if c.file != "" {
		if err := loadFile(c.file, c.settings); err != nil {
			return err
		}
	}
	if c.print {
		return writeSettings(stdout, c.settings)
	}
	if err := c.Config.Validate(); err != nil {
		if c.file != "" {
			return fmt.Errorf("%s: %w", c.file, err)
		}
		return err
	}
	return Run(ctx, c.Config, c.Log.Logger(stderr))
}

// WriteFile writes a settings file of this configuration, for
// [CommandLine.RegisterFlags]' --config.
func (c *CommandLine) WriteFile(w io.Writer) error {
	copied := CommandLine{Config: c.Config, Log: c.Log}
	copied.RegisterFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	return writeSettings(w, copied.settings)
}
