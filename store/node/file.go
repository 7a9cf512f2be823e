package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A settings file is a YAML mapping. Its fields are the flags, by their names,
// so whatever can be said on the command line can be said in a file, and means
// the same there.

// loadFile sets the flags that a settings file has values for. What was given
// on the command line stays. An error names the file, the line, the field and
// the remedy.
func loadFile(path string, flags *pflag.FlagSet) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("node: settings file (--config): %w", err)
	}
	defer f.Close()
	if err := readSettings(f, flags); err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return nil
}

// readSettings is loadFile on the file's content; its errors begin with the
// number of the line.
func readSettings(r io.Reader, flags *pflag.FlagSet) error {
	var doc yaml.Node
	d := yaml.NewDecoder(r)
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil // nothing but comments
	case err != nil:
		return notYAML(err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return wrong(root, "this is no list of settings: write one `name: value` a line")
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return wrong(root, "a second document begins after this one: a file holds the settings of one node")
	}
	seen := make(map[string]int)
	for i := 0; i < len(root.Content); i += 2 {
		name, value := root.Content[i], root.Content[i+1]
		flag := flags.Lookup(name.Value)
		if flag == nil {
			return wrong(name, "there is no setting %q; there are: %s", name.Value, strings.Join(names(flags), ", "))
		}
		if line, ok := seen[name.Value]; ok {
			return wrong(name, "%s is set a second time, first in line %d: take one of them out", name.Value, line)
		}
		seen[name.Value] = name.Line
		if flag.Changed {
			continue
		}
		if err := set(flag, value); err != nil {
			return err
		}
	}
	return nil
}

// set gives a flag the value that stands in a file.
func set(flag *pflag.Flag, value *yaml.Node) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok && value.Kind == yaml.SequenceNode {
		all := make([]string, len(value.Content))
		for i, v := range value.Content {
			if v.Kind != yaml.ScalarNode {
				return wrong(v, "%s is a list of plain values: %s", flag.Name, flag.Usage)
			}
			all[i] = v.Value
		}
		return list.Replace(all)
	}
	switch {
	case value.Kind != yaml.ScalarNode:
		return wrong(value, "%s is one plain value: %s", flag.Name, flag.Usage)
	case value.Tag == "!!null":
		return wrong(value, "%s has no value: give one, or take the line out", flag.Name)
	}
	if err := flag.Value.Set(value.Value); err != nil {
		text := err.Error()
		switch flag.Value.Type() {
		case "bool":
			text = "give true or false"
		case "int", "int64":
			text = "give a whole number"
		case "duration":
			text = "give a number with its unit, for example 1s or 250ms"
		}
		return wrong(value, "%s cannot be %q: %s (%s)", flag.Name, value.Value, text, flag.Usage)
	}
	return nil
}

func wrong(at *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d: %s", at.Line, fmt.Sprintf(format, args...))
}

// notYAML makes an error of the parser one that begins with the line.
func notYAML(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := "1"
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if n, words, ok := strings.Cut(rest, ": "); ok {
			line, text = n, words
		}
	}
	return fmt.Errorf("%s: this is not YAML: %s", line, text)
}

func names(flags *pflag.FlagSet) []string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	return all
}

// writeSettings writes a settings file with the flags' present values, and what
// each means above it.
func writeSettings(w io.Writer, flags *pflag.FlagSet) error {
	var b strings.Builder
	b.WriteString("# Settings of one node of the reference store. Each is a flag of the same\n" +
		"# name, and what is given on the command line counts more.\n")
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		var value any = f.Value.String()
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, s := range v.GetSlice() {
				list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s})
			}
			value = list
		default:
			if t := v.Type(); t == "bool" || strings.HasPrefix(t, "int") {
				value = &yaml.Node{Kind: yaml.ScalarNode, Value: v.String()}
			}
		}
		text, e := yaml.Marshal(value)
		err = errors.Join(err, e)
		fmt.Fprintf(&b, "\n# %s\n%s: %s", strings.Join(wrap(f.Usage, 76), "\n# "), f.Name, text)
	})
	if err != nil {
		return fmt.Errorf("node: write settings: %w", err)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// wrap breaks a text between words into lines of at most width bytes, if its
// words are not longer.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
