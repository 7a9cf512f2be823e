package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fabric cuts links between nodes, in the engine's own network namespace. It
// holds one nftables table of family bridge:
//
//	table bridge NAME { flags owner
//	    set cut { type ipv4_addr . ipv4_addr; flags timeout }
//	    chain forward {
//	        type filter hook forward priority -200
//	        ether type ip  ip saddr . ip daddr @cut  counter drop
//	    }
//	}
//
// The bridge's forward hook sees every packet between two containers of one
// network, before connection tracking could let an established flow pass. The
// rule is keyed by address, so it holds across restarts, and drops one
// direction at a time. Each element has a timeout: the kernel heals the link,
// whatever becomes of the agent. With flag owner (Linux 5.12 and later) the
// kernel removes the table with the agent's socket.
type fabric struct {
	name string

	mu   sync.Mutex
	conn *nftables.Conn
	tbl  *nftables.Table
	set  *nftables.Set
}

// start makes the table, with nothing cut. Owner says that the kernel removes
// it with us.
func (f *fabric) start() (owner bool, err error) {
	if f.name == "" {
		return false, fmt.Errorf("no table name in %s", EnvTable)
	}
	owner, err = f.open()
	if err != nil {
		return false, err
	}
	if err := f.build(); err != nil {
		return false, errors.Join(fmt.Errorf("set up table bridge %s: %w (partitions need nftables with the bridge family: kernel option NF_TABLES_BRIDGE, Linux 4.18 or later)", f.name, err), f.close())
	}
	return owner, nil
}

// open makes the table, owned by our socket if the kernel knows how.
func (f *fabric) open() (owner bool, err error) {
	// The library cannot set a table's flags, so the table is made with a
	// raw batch. It must go over the library's own socket, as the owner is
	// the socket.
	var socket *netlink.Conn
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		socket = c
		return nil
	}))
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	f.conn = conn
	f.tbl = &nftables.Table{Family: nftables.TableFamilyBridge, Name: f.name}
	err = createOwnedTable(socket, f.name)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		f.conn.AddTable(f.tbl) // an older kernel
		return false, nil
	}
	return false, errors.Join(fmt.Errorf("create table bridge %s: %w", f.name, err), f.conn.CloseLasting())
}

// createOwnedTable sends one batch with NFT_MSG_NEWTABLE and flag owner.
func createOwnedTable(c *netlink.Conn, name string) error {
	const tableFlagOwner = 0x2 // NFT_TABLE_F_OWNER, linux/netfilter/nf_tables.h
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: []byte{0, 0, 0, tableFlagOwner}},
	})
	if err != nil {
		return err
	}
	// struct nfgenmsg: family, version, resource id (big endian).
	bound := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	_, err = c.SendMessages([]netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: bound},
		{
			Header: netlink.Header{
				Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE),
				Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append([]byte{unix.NFPROTO_BRIDGE, unix.NFNETLINK_V0, 0, 0}, attrs...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: bound},
	})
	if err != nil {
		return err
	}
	_, err = c.Receive() // the acknowledgement, or the error
	return err
}

func (f *fabric) build() error {
	pair, err := nftables.ConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)
	if err != nil {
		return err
	}
	f.set = &nftables.Set{Table: f.tbl, Name: "cut", KeyType: pair, Concatenation: true, HasTimeout: true}
	if err := f.conn.AddSet(f.set, nil); err != nil {
		return err
	}
	accept := nftables.ChainPolicyAccept
	forward := f.conn.AddChain(&nftables.Chain{
		Name: "forward", Table: f.tbl, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(-200),
	})
	f.conn.AddRule(&nftables.Rule{Table: f.tbl, Chain: forward, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0x08, 0x00}}, // IPv4
		// The source and destination addresses lie side by side.
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 8},
		&expr.Lookup{SourceRegister: 1, SetName: f.set.Name, SetID: f.set.ID},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return f.conn.Flush()
}

// cut replaces the whole set in one transaction. Deleting single elements
// would fail when the kernel has just timed one of them out.
func (f *fabric) cut(links []CutLink) error {
	elements := make([]nftables.SetElement, 0, len(links))
	for _, l := range links {
		key, err := linkKey(l)
		if err != nil {
			return err
		}
		elements = append(elements, nftables.SetElement{Key: key, Timeout: time.Duration(l.MS) * time.Millisecond})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.FlushSet(f.set)
	if len(elements) > 0 {
		if err := f.conn.SetAddElements(f.set, elements); err != nil {
			return fmt.Errorf("cut %d links: %w", len(links), err)
		}
	}
	if err := f.conn.Flush(); err != nil {
		return fmt.Errorf("cut %d links: %w", len(links), err)
	}
	return nil
}

func linkKey(l CutLink) ([]byte, error) {
	from, err := netip.ParseAddr(l.From)
	if err != nil {
		return nil, fmt.Errorf("cut from %q: %w", l.From, err)
	}
	to, err := netip.ParseAddr(l.To)
	if err != nil {
		return nil, fmt.Errorf("cut to %q: %w", l.To, err)
	}
	if !from.Is4() || !to.Is4() {
		return nil, fmt.Errorf("cut %s to %s: only IPv4 links can be cut", from, to)
	}
	if l.MS <= 0 {
		return nil, fmt.Errorf("cut %s to %s: a lease of %d ms: want more than 0", from, to, l.MS)
	}
	return append(from.AsSlice(), to.AsSlice()...), nil
}

// close removes the table, and with it every cut.
func (f *fabric) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil {
		return nil
	}
	f.conn.DelTable(f.tbl)
	err := f.conn.Flush()
	if errors.Is(err, unix.ENOENT) {
		err = nil // never made
	}
	err = errors.Join(err, f.conn.CloseLasting())
	f.conn = nil
	return err
}
