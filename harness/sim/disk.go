package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Disk is the disk of one node: a set of append-only files. It survives
// crashes, but for what was not synced.
//
// What a crash leaves. Each file keeps what was durable and a prefix, of random
// length, of the appends and truncations since; of the first append that it
// loses a part may be there, cut or with garbage in it (a torn write). Files
// are independent: a later write to one may survive an earlier write to
// another. Changes of names (creation, Rename, Remove) survive in their order,
// a prefix of them, independently of what is in the files: a renamed file may
// turn out empty, as on a real file system.
//
// A call that makes no sense, such as renaming a file that does not exist,
// fails the run.
type Disk struct {
	m         *machine
	files     map[string]*file
	changes   []change // not durable, in order; the first head of them are done with
	head      int
	seq       uint64 // of the last change
	syncRand  rand.PCG
	rand      rand.PCG // of crashes
	rotRand   rand.PCG // of what is spoiled
	probeRand rand.PCG
	lastSync  int64 // when the last sync will be complete
}

// file is what a name stands for. Slices of data given out by Read stay as
// they are: bytes once appended are never written again, since whatever
// shortens data also limits its capacity.
type file struct {
	data []byte
	// What the crash in progress does with the file.
	mine, keep, seen int
	torn             []byte
}

// change is something that a crash may undo.
type change struct {
	seq   uint64
	at    int64
	file  *file  // whose content it changed; nil: it changed names
	prev  []byte // the content before
	added []byte // what an append added
	names []binding
}

// binding is what a name stood for before a change.
type binding struct {
	name string
	file *file // nil: nothing
}

// Append adds p to the end of a file, which it makes when there is none. The
// bytes are copied. They are lost at a crash until a Sync called after this is
// complete.
func (d *Disk) Append(name string, p []byte) {
	f := d.files[name]
	if f == nil {
		f = new(file)
		d.files[name] = f
		d.note(change{names: []binding{{name, nil}}})
	}
	prev := f.data
	f.data = append(f.data, p...)
	d.note(change{file: f, prev: prev, added: f.data[len(prev):]})
}

// Sync makes everything durable that was done before the call. Node.Synced
// follows with the same token when that is so, unless the process dies before.
// Syncs complete in the order of their calls.
func (d *Disk) Sync(token uint64) {
	w := d.m.w
	at := max(w.now+w.syncDelay.draw(d.syncRand.Uint64())+int64(d.m.bad.Delay), d.lastSync)
	d.lastSync = at
	it, _ := w.queue.push(at, kindSynced)
	it.node, it.inc, it.id, it.aux = int32(d.m.id), d.m.inc, token, d.seq
}

// Read gives the whole content of a file, or nil when there is none. The result
// must not be written to, and does not change when the file does.
func (d *Disk) Read(name string) []byte {
	if f := d.files[name]; f != nil {
		return slices.Clip(f.data)
	}
	return nil
}

// Size gives the length of a file in bytes, and -1 when there is none.
func (d *Disk) Size(name string) int64 {
	if f := d.files[name]; f != nil {
		return int64(len(f.data))
	}
	return -1
}

// Files gives the names of all files, sorted.
func (d *Disk) Files() []string {
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Truncate cuts a file to size bytes.
func (d *Disk) Truncate(name string, size int64) {
	f := d.files[name]
	if f == nil || size < 0 || size > int64(len(f.data)) {
		d.m.fail(fmt.Errorf("disk: truncate %q to %d bytes: its size is %d (-1: no such file)", name, size, d.Size(name)))
		return
	}
	prev := f.data
	f.data = prev[:size:size]
	d.note(change{file: f, prev: prev})
}

// Rename gives a file another name, in the place of the file that had it.
func (d *Disk) Rename(from, to string) {
	f := d.files[from]
	if f == nil {
		d.m.fail(fmt.Errorf("disk: rename %q to %q: no such file", from, to))
		return
	}
	if from == to {
		return
	}
	d.note(change{names: []binding{{from, f}, {to, d.files[to]}}})
	delete(d.files, from)
	d.files[to] = f
}

// Remove removes a file. It is no error when there is none.
func (d *Disk) Remove(name string) {
	f := d.files[name]
	if f == nil {
		return
	}
	d.note(change{names: []binding{{name, f}}})
	delete(d.files, name)
}

// note records a change so that a crash can undo it.
func (d *Disk) note(c change) {
	w := d.m.w
	if w.cfg.Disk.KeepUnsynced {
		return
	}
	d.writeBack()
	d.seq++
	c.seq, c.at = d.seq, w.now
	d.changes = append(d.changes, c)
}

// writeBack makes durable what is old enough. It is done when somebody looks,
// which is the same as in the background.
func (d *Disk) writeBack() {
	age := d.m.w.cfg.Disk.WriteBack
	if age < 0 {
		return
	}
	old := d.m.w.now - int64(age)
	for d.head < len(d.changes) && d.changes[d.head].at < old {
		d.forget()
	}
}

// synced makes the changes up to seq durable.
func (d *Disk) synced(seq uint64) {
	for d.head < len(d.changes) && d.changes[d.head].seq <= seq {
		d.forget()
	}
}

// forget makes the oldest change durable.
func (d *Disk) forget() {
	d.changes[d.head] = change{}
	d.head++
	switch {
	case d.head == len(d.changes):
		d.changes, d.head = d.changes[:0], 0
	case d.head > 64 && d.head > len(d.changes)/2:
		n := copy(d.changes, d.changes[d.head:])
		clear(d.changes[n:])
		d.changes, d.head = d.changes[:n], 0
	}
}

// crash undoes what does not survive.
func (d *Disk) crash() {
	d.writeBack()
	changes := d.changes[d.head:]

	// How much there is to lose of each file, and of the names.
	names := 0
	for _, c := range changes {
		if c.file != nil {
			c.file.mine++
		} else {
			names++
		}
	}
	keepNames, seenNames := upto(&d.rand, names), 0

	// What is lost, in order; of each file the first loss may be torn.
	var lost []change
	var hit []*file
	for _, c := range changes {
		f := c.file
		if f == nil {
			if seenNames >= keepNames {
				lost = append(lost, c)
			}
			seenNames++
			continue
		}
		if f.seen == 0 {
			f.keep = upto(&d.rand, f.mine)
			hit = append(hit, f)
		}
		if f.seen >= f.keep {
			lost = append(lost, c)
			if f.seen == f.keep && !d.m.w.cfg.Disk.NoTornWrites {
				f.torn = d.tear(c.added)
			}
		}
		f.seen++
	}

	for _, c := range slices.Backward(lost) {
		if c.file != nil {
			c.file.data = slices.Clip(c.prev)
			continue
		}
		for _, b := range c.names {
			if b.file == nil {
				delete(d.files, b.name)
			} else {
				d.files[b.name] = b.file
			}
		}
	}
	for _, f := range hit {
		f.data = append(slices.Clip(f.data), f.torn...)
		f.mine, f.keep, f.seen, f.torn = 0, 0, 0, nil
	}
	clear(d.changes)
	d.changes, d.head, d.lastSync = d.changes[:0], 0, 0
}

// tear gives what is left of a write that was under way: in half of the cases
// nothing, in a quarter its beginning, in a quarter its beginning followed by
// garbage.
func (d *Disk) tear(p []byte) []byte {
	how := d.rand.Uint64() % 4
	if how < 2 || len(p) == 0 {
		return nil
	}
	left := slices.Clone(p[:upto(&d.rand, len(p)-1)])
	if how == 2 {
		return left
	}
	for range 1 + upto(&d.rand, len(p)-len(left)-1) {
		left = append(left, byte(d.rand.Uint64()))
	}
	return left
}
