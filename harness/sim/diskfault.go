package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-chaos/assay/harness"
)

// Recorder is a [System] that tells what lies where on its disks, so that damage
// can hit what matters: in a log most bytes are of records that were replaced
// long ago.
type Recorder interface {
	System
	// AtRest gives where the records are that a node has stored, would use after
	// a restart, and can still read. It must not change the disk.
	AtRest(d *Disk) []Extent
}

// Extent is a part of a file: bytes From to To-1.
type Extent struct {
	File     string
	From, To int64
}

// supportsRot says whether the system tells what could be spoiled.
func (w *World) supportsRot() error {
	if _, ok := w.cfg.System.(Recorder); !ok {
		return fmt.Errorf("sim: the system %s does not say where its records are (sim.Recorder), so none can be spoiled", w.cfg.System.Name())
	}
	return nil
}

// SetDisk implements [harness.World].
func (w *World) SetDisk(_ context.Context, node int, d harness.Disk, lease time.Duration) error {
	m, err := w.machine(node)
	if err != nil {
		return err
	}
	if d == (harness.Disk{}) {
		m.setDisk(d)
		return nil
	}
	if err := w.usableFor(lease); err != nil {
		return err
	}
	if d.Rot < 0 || d.Delay < 0 {
		return errors.New("sim: what is wrong with a disk is given in positive times")
	}
	if d.Rot > 0 {
		if err := w.supportsRot(); err != nil {
			return err
		}
	}
	m.setDisk(d)
	m.diskLease = w.later(lease, func() { m.setDisk(harness.Disk{}) })
	return nil
}

// ProbeDisk implements [harness.World].
func (w *World) ProbeDisk(_ context.Context, node int) (harness.DiskProbe, error) {
	m, err := w.machine(node)
	if err != nil {
		return harness.DiskProbe{}, err
	}
	d := &m.disk
	return harness.DiskProbe{
		Disk:    m.bad,
		Sync:    time.Duration(w.syncDelay.draw(d.probeRand.Uint64())) + m.bad.Delay,
		Spoiled: m.spoiled,
	}, nil
}

// setDisk changes what is wrong with the disk.
func (m *machine) setDisk(d harness.Disk) {
	m.w.queue.cancel(m.diskLease)
	m.w.queue.cancel(m.rot)
	m.bad, m.diskLease, m.rot = d, timer{}, timer{}
	if m.w.cfg.Trace != nil {
		m.w.trace(Event{Kind: EventDisk, Node: m.id, Peer: -1, Note: d.String()})
	}
	if d.Rot > 0 {
		m.spoil()
	}
}

// spoil turns one bit of a durable record, and comes again.
func (m *machine) spoil() {
	m.rot = m.w.later(m.bad.Rot, m.spoil)
	var at []Extent
	for _, x := range m.w.cfg.System.(Recorder).AtRest(&m.disk) {
		if x.To <= m.disk.durable(x.File) && x.From < x.To {
			at = append(at, x)
		}
	}
	if len(at) == 0 {
		return
	}
	x := at[upto(&m.disk.rotRand, len(at)-1)]
	offset := x.From + int64(upto(&m.disk.rotRand, int(x.To-x.From)-1))
	m.disk.flip(x.File, offset, byte(1)<<upto(&m.disk.rotRand, 7))
	m.spoiled++
	if m.w.cfg.Trace != nil {
		m.w.trace(Event{Kind: EventSpoil, Node: m.id, Peer: -1, Note: fmt.Sprintf("%s at %d", x.File, offset)})
	}
}

// durable is how much of a file no crash takes away.
func (d *Disk) durable(name string) int64 {
	f := d.files[name]
	if f == nil {
		return 0
	}
	n := len(f.data)
	for _, c := range d.changes[d.head:] {
		if c.file == f {
			n = min(n, len(c.prev))
		} else if c.file == nil {
			for _, b := range c.names {
				if b.name == name {
					return 0
				}
			}
		}
	}
	return int64(n)
}

// flip turns bits of a durable byte. What Read has given out stays as it is.
func (d *Disk) flip(name string, offset int64, bits byte) {
	f := d.files[name]
	spoil := func(data []byte) []byte {
		data = append(make([]byte, 0, cap(data)), data...)
		data[offset] ^= bits
		return data
	}
	f.data = spoil(f.data)
	for i := range d.changes[d.head:] {
		if c := &d.changes[d.head+i]; c.file == f {
			c.prev = spoil(c.prev)
		}
	}
}
