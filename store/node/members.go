package node

import (
	"fmt"
	"net"
	"net/http"

	"github.com/assay-chaos/assay/store/httpapi"
	"github.com/assay-chaos/assay/store/replica"
)

// maxChange bounds the body of a change of the members, in bytes.
const maxChange = 64 << 10

// serveMembers tells who belongs to the cluster, and changes it.
func (n *Node) serveMembers(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		n.tellMembers(w)
	case http.MethodPost:
		n.changeMembers(w, r)
	default:
		w.Header().Set("Allow", "GET, POST")
		refuse(w, httpapi.CodeMethod, r.Method+` is not for members: GET them, or POST {"add": [{"id": 3, "addr": "host:port"}], "remove": [1]}`)
	}
}

func (n *Node) tellMembers(w http.ResponseWriter) {
	var view replica.View
	var members []replica.MemberStatus
	a := httpapi.Members{Node: uint32(n.cfg.ID)}
	if !n.loop.look(func(core *replica.Replica) {
		view, members, a.Member = core.View(), core.Members(), core.Member()
	}) {
		refuse(w, httpapi.CodeStopping, errStopping.Error())
		return
	}
	a.Epoch, a.Changing = view.Epoch, view.Before != nil
	if n.cfg.Gossip == 0 { // nobody gossips, so nothing is known of them
		for _, m := range view.Members {
			a.Members = append(a.Members, httpapi.Member{ID: uint32(m.ID), Addr: m.Addr, State: httpapi.MemberStays})
		}
	}
	for _, m := range members {
		alive := m.Alive
		one := httpapi.Member{ID: uint32(m.ID), Addr: m.Addr, State: httpapi.MemberStays, Alive: &alive}
		switch {
		case m.Leaving:
			one.State = httpapi.MemberLeaves
		case m.Joining:
			one.State = httpapi.MemberJoins
		}
		if a.Changing && !m.Joining {
			moved := m.Moved
			one.Moved = &moved
		}
		a.Members = append(a.Members, one)
	}
	writeJSON(w, http.StatusOK, a)
}

func (n *Node) changeMembers(w http.ResponseWriter, r *http.Request) {
	if !n.enter(w) {
		return
	}
	defer n.budget.leave()
	body, ok := readBody(w, r, maxChange)
	if !ok {
		return
	}
	change, err := parseChange(body)
	if err != nil {
		refuse(w, httpapi.CodeInvalid, err.Error())
		return
	}
	n.ask(w, replica.Request{Op: replica.Reconfigure, Change: change})
}

// parseChange reads the body of a change.
func parseChange(body []byte) (*replica.Change, error) {
	var c httpapi.Change
	if err := decodeStrictly(body, &c); err != nil {
		return nil, fmt.Errorf(`the body is not {"add": [{"id": 3, "addr": "host:port"}], "remove": [1]}: %w`, err)
	}
	change := &replica.Change{Lost: c.Lost}
	for _, m := range c.Add {
		if _, _, err := net.SplitHostPort(m.Addr); err != nil {
			return nil, fmt.Errorf("the address of node %d is %q: give the host:port at which the other nodes reach it", m.ID, m.Addr)
		}
		change.Add = append(change.Add, replica.Member{ID: replica.NodeID(m.ID), Addr: m.Addr})
	}
	for _, id := range c.Remove {
		change.Remove = append(change.Remove, replica.NodeID(id))
	}
	return change, nil
}
