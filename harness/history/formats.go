package history

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// Format is a way to write histories down.
type Format string

// The formats. A text log can be read only.
const (
	FormatAssay Format = "assay" // our own, see Encode
	FormatJSONL Format = "jsonl" // see ExportJSONL
	FormatEDN   Format = "edn"   // Jepsen's and Knossos', see ExportEDN
	FormatLog   Format = "log"   // Jepsen's text log
)

// Formats lists all formats.
func Formats() []Format { return []Format{FormatAssay, FormatJSONL, FormatEDN, FormatLog} }

// FormatOf tells a file's format by the end of its name; false if it does not
// tell.
func FormatOf(name string) (Format, bool) {
	switch f := Format(strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), ".")); f {
	case "ndjson":
		return FormatJSONL, true
	default:
		return f, slices.Contains(Formats(), f)
	}
}

// ImportAs reads a history that is known to be in a format, as [Import] does.
func ImportAs(r io.Reader, name string, f Format) (*History, error) {
	read, known := map[Format]importer{
		FormatAssay: importBinary, FormatJSONL: importJSONL, FormatEDN: importEDN, FormatLog: importLog,
	}[f]
	if !known {
		return nil, &ImportError{File: name, Line: 1, Err: unknownFormat(f)}
	}
	h, line, err := read(bufio.NewReaderSize(r, 64<<10), NewRecorder(nil))
	if err != nil {
		return nil, &ImportError{File: name, Line: max(1, line), Err: err}
	}
	return h, nil
}

// Export writes a history in a format.
func Export(w io.Writer, h *History, f Format) error {
	switch f {
	case FormatAssay:
		return Encode(w, h)
	case FormatJSONL:
		return ExportJSONL(w, h)
	case FormatEDN:
		return ExportEDN(w, h)
	case FormatLog:
		return fmt.Errorf("histories are not written as Jepsen's text log; write %s", FormatEDN)
	}
	return unknownFormat(f)
}

func unknownFormat(f Format) error {
	return fmt.Errorf("unknown format %q; there are %s, %s, %s and %s", f, FormatAssay, FormatJSONL, FormatEDN, FormatLog)
}

// Lost says what of a history a format cannot hold, in words; nothing for what
// holds everything. Operations are never lost.
func Lost(h *History, f Format) []string {
	if f != FormatEDN {
		return nil
	}
	var lost []string
	if n := len(h.Phases); n > 0 {
		lost = append(lost, fmt.Sprintf("the %d phases", n))
	}
	if n := len(h.Faults); n > 0 {
		lost = append(lost, fmt.Sprintf("what was proved of the %d faults", n))
	}
	if h.Cut != nil {
		lost = append(lost, "that the history is cut off")
	}
	if n := ties(h); n > 0 {
		lost = append(lost, fmt.Sprintf("that %d events happened at the same time as another (they get an order in which the same operations overlap)", n))
	}
	return lost
}

// ties counts events at the time of another.
func ties(h *History) int {
	var times []int64
	for i := range h.Ops {
		if times = append(times, h.Ops[i].Call); h.Ops[i].Return != Never {
			times = append(times, h.Ops[i].Return)
		}
	}
	slices.Sort(times)
	all := len(times)
	return all - len(slices.Compact(times))
}
