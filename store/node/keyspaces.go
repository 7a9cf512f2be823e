package node

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/assay-chaos/assay/store/replica"
)

// Keyspace is the keys that begin with Prefix. Rules are settings of their own,
// under the names of the flags; what they do not name is as for all other keys, but
// that R and W become majorities of an N that they name.
type Keyspace struct {
	Prefix string
	Rules  string // such as "protocol=caspaxos n=3"
}

// String is the keyspace as a flag has it.
func (k Keyspace) String() string { return strings.TrimSpace(k.Prefix + " " + k.Rules) }

// keyspaceRules are the settings that a keyspace can have.
func keyspaceRules(c *Config) *pflag.FlagSet {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.RegisterFlags(all)
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range []string{"protocol", "n", "r", "w", "stamps", "write-back", "read-repair", "sloppy"} {
		own.AddFlag(all.Lookup(name))
	}
	return own
}

// resolve gives the core's keyspace in a configuration that has its defaults.
func (k Keyspace) resolve(c *Config) (replica.Keyspace, error) {
	own := *c
	own.Keyspaces = nil
	flags := keyspaceRules(&own)
	given := make(map[string]bool)
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("node: Keyspaces (--keyspace) %q: %s", k, fmt.Sprintf(format, args...))
	}
	for _, word := range strings.Fields(k.Rules) {
		name, value, ok := strings.Cut(word, "=")
		flag := flags.Lookup(name)
		switch {
		case !ok || flag == nil:
			return replica.Keyspace{}, wrong("%q is no rule: write a prefix and then name=value, with the names %s", word, strings.Join(names(flags), ", "))
		case given[name]:
			return replica.Keyspace{}, wrong("%s is there twice: take one of them out", name)
		}
		given[name] = true
		if err := flag.Value.Set(value); err != nil {
			return replica.Keyspace{}, wrong("%s cannot be %q: %v (%s)", name, value, err, flag.Usage)
		}
	}
	// Quorums of another N or another protocol fit no more.
	if given["n"] || given["protocol"] {
		if !given["r"] {
			own.R = 0
		}
		if !given["w"] {
			own.W = 0
		}
	}
	if own.Protocol == replica.CASPaxos {
		if !given["read-repair"] {
			own.ReadRepair = replica.ReadRepairOff
		}
		if !given["sloppy"] {
			own.Sloppy = false
		}
		if !given["stamps"] {
			own.Stamps = replica.Logical
		}
	}
	own = own.withDefaults()
	return replica.Keyspace{Prefix: k.Prefix, Rules: own.rules()}, nil
}

// rules are those of a configuration that has its defaults.
func (c *Config) rules() replica.Rules {
	return replica.Rules{
		N:          c.N,
		R:          c.R,
		W:          c.W,
		Protocol:   c.Protocol,
		Stamps:     c.Stamps,
		WriteBack:  c.WriteBack,
		ReadRepair: c.ReadRepair,
		Sloppy:     c.Sloppy,
	}
}

// keyspaces gives the core's keyspaces, ordered, and the first mistake.
func (c *Config) keyspaces() ([]replica.Keyspace, error) {
	var all []replica.Keyspace
	for _, k := range c.Keyspaces {
		one, err := k.resolve(c)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b replica.Keyspace) int { return strings.Compare(a.Prefix, b.Prefix) })
	return all, nil
}

// keyspacesFlag is Config.Keyspaces as a flag that can be repeated.
type keyspacesFlag struct{ to *[]Keyspace }

func (f keyspacesFlag) String() string { return strings.Join(f.GetSlice(), "; ") }

// Set implements [pflag.Value]: it adds a keyspace.
func (f keyspacesFlag) Set(text string) error { return f.Append(text) }

func (keyspacesFlag) Type() string { return "'prefix name=value…'" }

// Append implements [pflag.SliceValue], as do Replace and GetSlice.
func (f keyspacesFlag) Append(text string) error {
	prefix, rules, _ := strings.Cut(strings.TrimSpace(text), " ")
	if prefix == "" || strings.Contains(prefix, "=") && rules == "" {
		return fmt.Errorf("%q names no prefix: write the prefix of the keys, and then their rules, for example 'bank/ protocol=caspaxos'", text)
	}
	*f.to = append(*f.to, Keyspace{Prefix: prefix, Rules: strings.Join(strings.Fields(rules), " ")})
	return nil
}

func (f keyspacesFlag) Replace(texts []string) error {
	*f.to = nil
	for _, text := range texts {
		if err := f.Append(text); err != nil {
			return err
		}
	}
	return nil
}

func (f keyspacesFlag) GetSlice() []string {
	texts := []string{}
	for _, k := range *f.to {
		texts = append(texts, k.String())
	}
	return texts
}
