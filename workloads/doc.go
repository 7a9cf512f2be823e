// Package workloads holds what clients do in a test: ready-made
// [harness.Workload] values, one file each. A workload is a generator with the
// names of its keys, and a pure value: it knows no system, no world and no
// clock, and the same seed gives the same operations.
//
// What a workload's history shows is judged by package checkers. The names of
// workloads are those of the field: register, bank, set, and so on.
package workloads
