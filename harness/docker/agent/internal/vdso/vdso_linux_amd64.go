package vdso

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stub is the replacement, assembled from stub/stub_amd64.S.
//
//go:embed stub_amd64.bin
var stub []byte

// Offsets in the stub, as in its source.
const (
	offReal   = 0x00
	offActive = 0x08
	offSlot0  = 0x10
	offSlot1  = 0x28
	offCode   = 0x40
)

// ErrNoClockPointer says that the process keeps no pointer to the vDSO's
// clock_gettime where a Go program does, so that its clock cannot be changed.
var ErrNoClockPointer = errors.New("no Go runtime clock pointer found")

// Process is a process whose clock can be changed. It is not safe for
// concurrent use.
type Process struct {
	mem     *os.File
	real    uint64 // address of __vdso_clock_gettime
	stub    uint64 // address of our stub
	pointer uint64 // address of the runtime's variable
	slot    uint64 // address of the slot in force
}

// Attach finds its way in the process's memory. Nothing is written yet. A stub
// that a former agent left there is found again.
func Attach(pid int) (*Process, error) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the memory of process %d: %w", pid, err)
	}
	p := &Process{mem: mem}
	if err := p.locate(pid); err != nil {
		mem.Close()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

func (p *Process) locate(pid int) error {
	m, err := readMaps(pid)
	if err != nil {
		return err
	}
	image, err := p.read(m.vdso.start, int(m.vdso.end-m.vdso.start))
	if err != nil {
		return fmt.Errorf("read the vDSO: %w", err)
	}
	function, end, err := parseImage(image)
	if err != nil {
		return err
	}
	if end+len(stub) > len(image) {
		return fmt.Errorf("no room in the vDSO: %d of %d bytes are used and the stub has %d", end, len(image), len(stub))
	}
	p.real = m.vdso.start + function
	p.stub = m.vdso.start + uint64(end)
	room := image[end : end+len(stub)]
	if !bytes.Equal(room, make([]byte, len(stub))) && !bytes.Equal(room[offCode:], stub[offCode:]) {
		return errors.New("the end of the vDSO is in use by something else")
	}
	return p.findPointer(m.data)
}

// parseImage gives the offset of __vdso_clock_gettime in the vDSO's image, and
// the end of the image's used part, rounded up to a cache line.
func parseImage(image []byte) (function uint64, end int, err error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, fmt.Errorf("parse the vDSO: %w", err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, 0, fmt.Errorf("symbols of the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			function = s.Value
		}
	}
	if function == 0 {
		return 0, 0, errors.New("the vDSO has no __vdso_clock_gettime")
	}
	var used uint64
	for _, s := range f.Progs {
		used = max(used, s.Off+s.Filesz)
	}
	// The section headers come last. They are 64 bytes each in ELF64.
	headers := binary.LittleEndian.Uint64(image[40:])
	count := uint64(binary.LittleEndian.Uint16(image[60:]))
	used = max(used, headers+64*count)
	return function, int(used+63) &^ 63, nil
}

// findPointer looks through the program's data for the one variable that holds
// the address of the real function, or of our stub.
func (p *Process) findPointer(data []span) error {
	var found []uint64
	for _, s := range data {
		b, err := p.read(s.start, int(s.end-s.start))
		if err != nil {
			continue // a part that was unmapped meanwhile
		}
		for i := 0; i+8 <= len(b); i += 8 {
			if v := binary.LittleEndian.Uint64(b[i:]); v == p.real || v == p.stub+offCode {
				found = append(found, s.start+uint64(i))
			}
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%w (%d candidates)", ErrNoClockPointer, len(found))
	}
	p.pointer = found[0]
	return nil
}

// Set makes the process see the true time plus offset, plus drift times the
// time that passes from now on. Its first call puts the stub into place.
func (p *Process) Set(offset time.Duration, drift float64) error {
	if p.slot == 0 {
		b := bytes.Clone(stub)
		binary.LittleEndian.PutUint64(b[offReal:], p.real)
		binary.LittleEndian.PutUint64(b[offActive:], p.stub+offSlot0)
		// A stub that is there already has the same bytes of code, so a
		// thread that is in it is not disturbed.
		if err := p.write(p.stub, b); err != nil {
			return fmt.Errorf("write the stub: %w", err)
		}
		p.slot = p.stub + offSlot0
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	var slot []byte
	for _, v := range []int64{int64(offset), now.Nano(), int64(math.Round(drift * (1 << 32)))} {
		slot = binary.LittleEndian.AppendUint64(slot, uint64(v))
	}
	// The slot that is not in force is written, then made active.
	next := p.stub + offSlot0
	if p.slot == next {
		next = p.stub + offSlot1
	}
	if err := p.write(next, slot); err != nil {
		return fmt.Errorf("write the setting: %w", err)
	}
	if err := p.writeWord(p.stub+offActive, next); err != nil {
		return fmt.Errorf("switch the setting: %w", err)
	}
	p.slot = next
	if err := p.writeWord(p.pointer, p.stub+offCode); err != nil {
		return fmt.Errorf("point the runtime to the stub: %w", err)
	}
	return nil
}

// Restore gives the process the true time back. The stub stays where it is, as
// a thread may still be in it.
func (p *Process) Restore() error { return p.writeWord(p.pointer, p.real) }

// Close lets go of the process, as it is.
func (p *Process) Close() error { return p.mem.Close() }

func (p *Process) read(at uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := p.mem.ReadAt(b, int64(at))
	return b, err
}

func (p *Process) write(at uint64, b []byte) error {
	_, err := p.mem.WriteAt(b, int64(at))
	return err
}

// writeWord stores 8 aligned bytes, which other threads see all at once.
func (p *Process) writeWord(at, v uint64) error {
	return p.write(at, binary.LittleEndian.AppendUint64(nil, v))
}
