package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// report is what a comparison found.
type report struct {
	Machine string    `json:"machine"`
	Started time.Time `json:"started"`
	Options options   `json:"options"`
	Summary []row     `json:"summary"`
	Samples []sample  `json:"samples"`
}

// sample is one operation on one system in one round.
type sample struct {
	System    string        `json:"system"`
	Op        string        `json:"op"`
	Round     int           `json:"round"`
	Count     int           `json:"count"`     // successes
	Conflicts float64       `json:"conflicts"` // share of the compare-and-sets
	Rate      float64       `json:"ops_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	NodeCPU   float64       `json:"node_cpu_us_per_op"`   // of all nodes together
	ClientCPU float64       `json:"client_cpu_us_per_op"` // of all clients together
	Load      float64       `json:"load_average"`         // of the machine, over the last minute
}

func (s sample) String() string {
	return fmt.Sprintf("%s %8.0f ops/s, p50 %v, p99 %v, %.2f %% conflicts, CPU %.0f+%.0f µs/op, load average %.2f",
		s.Op, s.Rate, s.P50.Round(10*time.Microsecond), s.P99.Round(10*time.Microsecond), 100*s.Conflicts, s.NodeCPU, s.ClientCPU, s.Load)
}

// row is one operation on one system over all rounds.
type row struct {
	System string `json:"system"`
	Op     string `json:"op"`
	// Medians over the rounds.
	Rate      float64       `json:"ops_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	NodeCPU   float64       `json:"node_cpu_us_per_op"`
	ClientCPU float64       `json:"client_cpu_us_per_op"`
	Conflicts float64       `json:"conflicts"`
	// Ratio is the first system's rate to this one's in the same round:
	// median, least and greatest.
	Ratio    float64 `json:"ratio"`
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
}

// summarize fills in Summary.
func (r *report) summarize() {
	for _, op := range r.Options.Ops {
		first := r.of(r.Options.Systems[0], op)
		for _, name := range r.Options.Systems {
			own := r.of(name, op)
			ratios := make([]float64, len(own))
			for i := range own {
				ratios[i] = first[i].Rate / own[i].Rate
			}
			r.Summary = append(r.Summary, row{
				System: name, Op: op,
				Rate:      median(own, func(s sample) float64 { return s.Rate }),
				P50:       time.Duration(median(own, func(s sample) float64 { return float64(s.P50) })),
				P99:       time.Duration(median(own, func(s sample) float64 { return float64(s.P99) })),
				NodeCPU:   median(own, func(s sample) float64 { return s.NodeCPU }),
				ClientCPU: median(own, func(s sample) float64 { return s.ClientCPU }),
				Conflicts: median(own, func(s sample) float64 { return s.Conflicts }),
				Ratio:     median(ratios, func(x float64) float64 { return x }),
				RatioMin:  slices.Min(ratios), RatioMax: slices.Max(ratios),
			})
		}
	}
}

// of gives the samples of one system and operation by round.
func (r *report) of(system, op string) []sample {
	var out []sample
	for _, s := range r.Samples {
		if s.System == system && s.Op == op {
			out = append(out, s)
		}
	}
	return out
}

// median of what f gives; of an even number, the mean of the middle two.
func median[T any](of []T, f func(T) float64) float64 {
	x := make([]float64, len(of))
	for i := range of {
		x[i] = f(of[i])
	}
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func (r *report) print(w io.Writer) {
	o := &r.Options
	fmt.Fprintf(w, "%s\n%d nodes, %d clients on %d connections, %d keys, values of %d bytes, fsync; medians of %d rounds of %v\n\n",
		r.Machine, o.Nodes, o.Clients, o.Conns, o.Keys, o.Value, o.Rounds, o.Measure)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "op\tsystem\tops/s\tp50\tp99\tconflicts\tnodes µs/op\tclients µs/op\t%s is\tfrom\tto\t\n", o.Systems[0])
	for _, x := range r.Summary {
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%v\t%v\t%.2f %%\t%.0f\t%.0f\t", x.Op, x.System, x.Rate,
			x.P50.Round(10*time.Microsecond), x.P99.Round(10*time.Microsecond), 100*x.Conflicts, x.NodeCPU, x.ClientCPU)
		if x.System == o.Systems[0] {
			fmt.Fprint(t, "\t\t\t\n")
		} else {
			fmt.Fprintf(t, "%.2f ×\t%.2f ×\t%.2f ×\t\n", x.Ratio, x.RatioMin, x.RatioMax)
		}
	}
	_ = t.Flush() // as with the lines before, nobody is there to hear of an error
}

// describeMachine tells where the figures come from, as far as Linux says.
func describeMachine() string {
	cpu := "CPU unknown"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, memory := "", 0
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	var m unix.Sysinfo_t
	if unix.Sysinfo(&m) == nil {
		memory = int(m.Totalram * uint64(m.Unit) >> 30)
	}
	return fmt.Sprintf("%d cores of %s, %d GiB, %s/%s %s, %s", runtime.NumCPU(), cpu, memory, runtime.GOOS, runtime.GOARCH, kernel, runtime.Version())
}

// loadAverage is the machine's over the last minute, 0 if unknown.
func loadAverage() float64 {
	var load float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(text), &load) // stays 0
	}
	return load
}
