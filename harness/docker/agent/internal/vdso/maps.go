package vdso

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// span is a range of addresses.
type span struct{ start, end uint64 }

// mapping is what matters of a process's address space.
type mapping struct {
	vdso span
	data []span // writable data of the program itself: .data, .bss
}

func readMaps(pid int) (mapping, error) {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return mapping{}, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return mapping{}, err
	}
	defer f.Close()
	return parseMaps(f, exe)
}

// parseMaps reads the format of /proc/PID/maps (proc_pid_maps(5)). The .bss of
// a program is the anonymous range that follows its last mapped one.
func parseMaps(r io.Reader, exe string) (mapping, error) {
	var m mapping
	var last uint64 // end of the program's ranges so far
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		lo, hi, ok := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		if !ok || err1 != nil || err2 != nil || end < start {
			return m, fmt.Errorf("memory map: bad range %q", fields[0])
		}
		name := ""
		if len(fields) > 5 {
			name = strings.Join(fields[5:], " ")
		}
		writable := strings.HasPrefix(fields[1], "rw")
		switch {
		case name == "[vdso]":
			m.vdso = span{start, end}
		case name == exe && exe != "":
			last = end
			if writable {
				m.data = append(m.data, span{start, end})
			}
		case name == "" && writable && start == last:
			last = end
			m.data = append(m.data, span{start, end})
		}
	}
	if err := lines.Err(); err != nil {
		return m, fmt.Errorf("memory map: %w", err)
	}
	if m.vdso.end == 0 {
		return m, errors.New("the process has no vDSO")
	}
	return m, nil
}
