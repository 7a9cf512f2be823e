package checkers

// shortCycle gives a cycle of a graph, nil if there is none: the shortest one
// through the node at which a search first came back. edges is by node. O(n + m).
func shortCycle(edges [][]seqEdge) []seqEdge {
	const (
		fresh = iota
		open
		done
	)
	state := make([]byte, len(edges))
	type frame struct {
		node int32
		next int
	}
	for start := range edges {
		if state[start] != fresh {
			continue
		}
		state[start] = open
		stack := []frame{{node: int32(start)}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(edges[top.node]) {
				state[top.node] = done
				stack = stack[:len(stack)-1]
				continue
			}
			to := edges[top.node][top.next].to
			top.next++
			switch state[to] {
			case open:
				return shortestBack(edges, to)
			case fresh:
				state[to] = open
				stack = append(stack, frame{node: to})
			}
		}
	}
	return nil
}

// shortestBack gives the shortest way from a node back to itself.
func shortestBack(edges [][]seqEdge, node int32) []seqEdge {
	type step struct {
		edge seqEdge
		from int32
	}
	came := make(map[int32]step)
	queue := []int32{node}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, e := range edges[at] {
			if _, seen := came[e.to]; seen {
				continue
			}
			came[e.to] = step{edge: e, from: at}
			if e.to != node {
				queue = append(queue, e.to)
				continue
			}
			var cycle []seqEdge
			for back := node; len(cycle) == 0 || back != node; back = came[back].from {
				cycle = append(cycle, came[back].edge)
			}
			for i, k := 0, len(cycle)-1; i < k; i, k = i+1, k-1 {
				cycle[i], cycle[k] = cycle[k], cycle[i]
			}
			return cycle
		}
	}
	return nil
}
