// Package vdso changes the wall clock that one running process sees, from
// outside and without its help.
//
// A Go program on linux/amd64 reads its clocks through the function
// __vdso_clock_gettime, which the kernel maps into every process and whose
// address the runtime keeps in the variable runtime.vdsoClockgettimeSym. A
// small replacement (stub/stub_amd64.S) is written into the unused end of the
// process's own vDSO pages, and the variable is pointed to it with one store.
// No thread is stopped. The pages are copied on this write, so no other process
// is touched; the monotonic clock goes on as before.
//
// Writing needs CAP_SYS_PTRACE over the process, and a kernel that lets
// /proc/PID/mem write to read-only pages (proc_mem.force_override). Only
// mechanism belongs here; leases and processes are the agent's.
package vdso
