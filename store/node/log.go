package node

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// LogConfig is how a node's process writes its log.
type LogConfig struct {
	// JSON: one JSON object a line, instead of key=value text.
	JSON bool
	// Level is the least important level that is written.
	Level slog.Level
}

// RegisterFlags binds the fields to flags, with their present values as
// defaults.
func (c *LogConfig) RegisterFlags(f *pflag.FlagSet) {
	f.Var((*logFormatFlag)(&c.JSON), "log-format", "how a log line looks: text or json")
	f.Var((*logLevelFlag)(&c.Level), "log-level", "what is logged: debug, info, warn or error, and all above it")
}

// Logger makes a logger that writes to w.
func (c *LogConfig) Logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// logFormatFlag is LogConfig.JSON as a flag.
type logFormatFlag bool

func (j *logFormatFlag) String() string {
	if *j {
		return "json"
	}
	return "text"
}

func (j *logFormatFlag) Set(text string) error {
	if text != "text" && text != "json" {
		return fmt.Errorf("%q is neither text nor json", text)
	}
	*j = text == "json"
	return nil
}

func (*logFormatFlag) Type() string { return "text|json" }

// logLevelFlag is LogConfig.Level as a flag.
type logLevelFlag slog.Level

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

func (l *logLevelFlag) String() string {
	for name, level := range logLevels {
		if level == slog.Level(*l) {
			return name // no two names have one level
		}
	}
	return slog.Level(*l).String()
}

func (l *logLevelFlag) Set(text string) error {
	level, ok := logLevels[text]
	if !ok {
		return fmt.Errorf("%q is none of debug, info, warn and error", text)
	}
	*l = logLevelFlag(level)
	return nil
}

func (*logLevelFlag) Type() string { return "debug|info|warn|error" }
