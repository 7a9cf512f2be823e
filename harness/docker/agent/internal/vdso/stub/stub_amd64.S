# A clock_gettime that wraps the real one and changes CLOCK_REALTIME (and
# CLOCK_REALTIME_COARSE) by a linear function of it:
#
#     seen = true + offset + (true - reference) * drift
#
# It is put into the unused end of a process's own vDSO pages, which that
# process may execute but only the agent writes (through /proc/PID/mem).
#
# Assembled with
#     gcc -c stub_amd64.S && objcopy -O binary -j .text stub_amd64.o stub_amd64.bin
	.text
real:	.quad 0            # 0x00 address of the real clock_gettime
active:	.quad 0            # 0x08 address of the slot in force: switched by one store
slot0:	.quad 0,0,0        # 0x10 offset (ns), reference (ns), drift (Q32 fixed point)
slot1:	.quad 0,0,0        # 0x28
code:                      # 0x40 int clock_gettime(edi clock, rsi timespec)
	pushq %rbx
	pushq %r14
	pushq %r13             # three pushes also align the stack for the call
	movl %edi,%r14d
	movq %rsi,%rbx
	call *real(%rip)
	testl %eax,%eax
	jnz 2f                 # it failed: nothing to change
	testl %r14d,%r14d      # CLOCK_REALTIME
	jz 1f
	cmpl $5,%r14d          # CLOCK_REALTIME_COARSE
	jne 2f
1:	movq active(%rip),%r13
	movq (%rbx),%rax
	imulq $1000000000,%rax,%rax
	addq 8(%rbx),%rax      # rax = true time in ns
	movq %rax,%rcx
	subq 8(%r13),%rax
	imulq 16(%r13)         # rdx:rax = (true - reference) * drift, Q32
	shrdq $32,%rdx,%rax
	addq %rcx,%rax
	addq (%r13),%rax
	xorl %edx,%edx
	movl $1000000000,%ecx
	divq %rcx
	movq %rax,(%rbx)       # seconds
	movq %rdx,8(%rbx)      # nanoseconds
	xorl %eax,%eax
2:	popq %r13
	popq %r14
	popq %rbx
	ret
	.balign 8
