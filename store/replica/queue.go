package replica

// A queue holds requests in order of a time. Each request can be in one queue
// of each link.
type queue struct {
	head, tail *request
	link       int
}

// The links of a request.
const (
	linkDeadline = iota
	linkRetry
	links
)

type link struct{ prev, next *request }

func (q *queue) pushBack(x *request) {
	x.link[q.link] = link{prev: q.tail}
	if q.tail == nil {
		q.head = x
	} else {
		q.tail.link[q.link].next = x
	}
	q.tail = x
}

func (q *queue) remove(x *request) {
	l := x.link[q.link]
	if l.prev == nil {
		q.head = l.next
	} else {
		l.prev.link[q.link].next = l.next
	}
	if l.next == nil {
		q.tail = l.prev
	} else {
		l.next.link[q.link].prev = l.prev
	}
	x.link[q.link] = link{}
}
