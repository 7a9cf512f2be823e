package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-chaos/assay/store/client"
	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/trust"
)

const membersHelp = `Show or change the members of a running cluster of the reference store.

The nodes must gossip (--gossip). One that is to be added runs already, with an
empty directory and --join, and has a number that no node of the cluster ever had:
  assay node --join --id 3 --n 3 --gossip 1s …
  assay members add 3=10.0.0.4:7800
  assay members remove 1
  assay members replace 1 3=10.0.0.4:7800 --lost

While a change is under way the cluster serves, with quorums of both the old and
the new members, and the records move. add, remove and replace wait until it is
through. --lost says that the disks of the removed nodes are gone, so that nobody
waits for what only they had.`

// membersFlags are how to reach a cluster.
type membersFlags struct {
	node   string
	lost   bool
	noWait bool
	asJSON bool
	limit  time.Duration
	tls    trust.Files
}

func membersCommand() *cobra.Command {
	m := &membersFlags{node: "127.0.0.1:7801", limit: time.Minute}
	show := &cobra.Command{
		Use:   "members",
		Short: "show or change the members of a running cluster",
		Long:  membersHelp,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return m.show(c.Context(), c.OutOrStdout())
		},
	}
	f := show.PersistentFlags()
	f.StringVar(&m.node, "node", m.node, "host:port at which a member listens for clients")
	f.DurationVar(&m.limit, "timeout", m.limit, "how long to wait for a change")
	f.StringVar(&m.tls.CA, "tls-ca", "", "PEM file of the authority that the cluster trusts; none: no TLS")
	f.StringVar(&m.tls.Cert, "tls-cert", "", "PEM file of a certificate for clients")
	f.StringVar(&m.tls.Key, "tls-key", "", "PEM file of its private key")
	show.Flags().BoolVar(&m.asJSON, "json", false, "print what the node answers, as JSON")
	change := func(use, short string, args cobra.PositionalArgs, parse func(args []string) (httpapi.Change, error)) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: args,
			RunE: func(c *cobra.Command, args []string) error {
				change, err := parse(args)
				if err != nil {
					return err
				}
				change.Lost = m.lost
				return m.change(c.Context(), c.OutOrStdout(), change)
			},
		}
		c.Flags().BoolVar(&m.noWait, "no-wait", false, "return when the change is certain, before it is through")
		return c
	}
	add := change("add ID=HOST:PORT…", "add nodes", cobra.MinimumNArgs(1), func(args []string) (httpapi.Change, error) {
		return parseChange(nil, args)
	})
	remove := change("remove ID…", "remove nodes", cobra.MinimumNArgs(1), func(args []string) (httpapi.Change, error) {
		return parseChange(args, nil)
	})
	replace := change("replace ID ID=HOST:PORT", "put a new node in the place of another", cobra.ExactArgs(2), func(args []string) (httpapi.Change, error) {
		return parseChange(args[:1], args[1:])
	})
	for _, c := range []*cobra.Command{remove, replace} {
		c.Flags().BoolVar(&m.lost, "lost", false, "the disks of the removed nodes are gone: wait for nothing that only they had")
	}
	show.AddCommand(add, remove, replace)
	return show
}

// parseChange reads the numbers of nodes to be removed, and those to be added with
// their addresses.
func parseChange(remove, add []string) (httpapi.Change, error) {
	var change httpapi.Change
	for _, word := range remove {
		id, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return change, fmt.Errorf("members: %q is no number of a node", word)
		}
		change.Remove = append(change.Remove, uint32(id))
	}
	for _, word := range add {
		number, addr, ok := strings.Cut(word, "=")
		id, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			return change, fmt.Errorf("members: %q is no new node: write its number and the address at which other nodes reach it, for example 3=10.0.0.4:7800", word)
		}
		change.Add = append(change.Add, httpapi.NewMember{ID: uint32(id), Addr: addr})
	}
	return change, nil
}

// client connects to the node.
func (m *membersFlags) client() (*client.Client, error) {
	if err := m.tls.Validate(); err != nil {
		return nil, fmt.Errorf("members: --tls-ca, --tls-cert, --tls-key: %w", err)
	}
	if !m.tls.Enabled() {
		return client.New(m.node), nil
	}
	who, err := trust.Load(m.tls)
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	return client.NewTLS(m.node, who), nil
}

func (m *membersFlags) show(ctx context.Context, out io.Writer) error {
	c, err := m.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	if m.asJSON {
		return json.NewEncoder(out).Encode(members)
	}
	return printMembers(out, &members)
}

func printMembers(out io.Writer, members *httpapi.Members) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "node\taddress\tstate\talive\trecords moved")
	for _, n := range members.Members {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", n.ID, n.Addr, n.State, yesNo(n.Alive), yesNo(n.Moved))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	state := "settled"
	if members.Changing {
		state = "changing"
	}
	if members.Epoch == 0 && members.Member {
		state = "these nodes do not gossip, so they are the members for good"
	}
	_, err := fmt.Fprintf(out, "epoch %d, %s\n", members.Epoch, state)
	return err
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return "yes"
	}
	return "no"
}

// membersPoll is how often a change is looked at.
const membersPoll = 100 * time.Millisecond

func (m *membersFlags) change(ctx context.Context, out io.Writer, change httpapi.Change) error {
	c, err := m.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	if err := c.Change(ctx, change); err != nil {
		return err
	}
	if m.noWait {
		fmt.Fprintln(out, "the change is certain; see assay members")
		return nil
	}
	told := ""
	for {
		members, err := c.Members(ctx)
		if err != nil {
			return fmt.Errorf("members: the change is certain, but whether it is through is not known: %w", err)
		}
		if changed(&members, change) {
			return printMembers(out, &members)
		}
		if text := waitingFor(&members); text != told {
			fmt.Fprintln(os.Stderr, "assay:", text)
			told = text
		}
		select {
		case <-time.After(membersPoll):
		case <-ctx.Done():
			return fmt.Errorf("members: the change is certain, and not through after %v: %s", m.limit, told)
		}
	}
}

// changed says that a node has seen a change come through.
func changed(members *httpapi.Members, change httpapi.Change) bool {
	there := make(map[uint32]bool)
	for _, n := range members.Members {
		there[n.ID] = true
	}
	for _, n := range change.Add {
		if !there[n.ID] {
			return false
		}
	}
	for _, id := range change.Remove {
		if there[id] {
			return false
		}
	}
	return !members.Changing
}

// waitingFor tells what a change waits for.
func waitingFor(members *httpapi.Members) string {
	var names []string
	for _, n := range members.Members {
		if n.Moved != nil && !*n.Moved {
			names = append(names, strconv.Itoa(int(n.ID)))
		}
	}
	if len(names) == 0 {
		return "waiting until the members agree"
	}
	return "waiting until the records of node " + strings.Join(names, ", ") + " are where they are going to be"
}
