// Package results keeps what a run left behind and shows it to people: the run
// directory, the page, the story at the end of a run, and the table of the
// claims matrix.
//
// A run directory:
//
//	test.json        what was run, with the seed and the command to run it again
//	history.assay    every operation and fault, written while the run goes on
//	verdicts.json    the answers to the claims, and figures per phase
//	replicas.json    what each replica held at the end
//	trace.json       messages around a violation, of a simulated run
//	logs/node-0.log  what the nodes said
//	index.html       the page: one file, without network or other files
//	key-3.html       Porcupine's own picture of key 3, where something broke
//
// The history grows while the run goes on; everything else appears whole or
// not at all. Every JSON file carries the version of its schema.
//
// What belongs here: files and pictures. Nothing in this package judges a
// history or touches a cluster; it draws and tells what the checkers found.
// For the same input every picture, text and table is the same to the byte.
package results
