package node

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// tcpRTOMaxMS is TCP_RTO_MAX_MS of linux/tcp.h, in kernels from 6.15.
const tcpRTOMaxMS = 44

// quickRetransmit lets TCP try again every second at the latest. Its own limit
// is two minutes, which would keep a connection silent long after a network is
// whole again. Older kernels do not know the option and are left as they are:
// peerSilence bounds the same thing more coarsely.
func quickRetransmit(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMS, 1000) // best effort, see above
	})
}
