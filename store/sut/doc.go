// Package sut makes the reference store a system under test: its [Profile]s
// (settings with a name and a claim), and a [System] that harness/sim can boot
// in simulation, with the client and the inspection of its replicas.
//
// It is the only package of the store that knows of the harness. What a node
// does belongs to store/replica; what is here is how it is started, driven,
// asked and looked at.
package sut
