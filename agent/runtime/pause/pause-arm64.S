// pause for linux/arm64. pause.md tells what it does; the other architectures follow the same labels line by line.
// The whole file, ELF headers included, is written here: make.sh assembles it and keeps the bytes as they are.

        .equ    BASE, 0x400000

ehdr:   .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0         // 64 bits, little-endian
        .quad   0
        .short  2, 183                                  // ET_EXEC, EM_AARCH64
        .long   1
        .quad   BASE + (_start - ehdr)                  // entry
        .quad   phdr - ehdr
        .quad   0                                       // no sections
        .long   0                                       // flags
        .short  64, 56, 2, 0, 0, 0                      // header sizes; two program headers

phdr:   .long   1, 5                                    // PT_LOAD, readable and executable: this whole file
        .quad   0, BASE, BASE
        .quad   end - ehdr, end - ehdr, 0x10000         // some arm64 kernels have pages of 64 KiB
        .long   0x6474e551, 6                           // PT_GNU_STACK: the stack is not executable
        .quad   0, 0, 0, 0, 0, 16

        .globl  _start
_start: mov     x19, #0x4002                            // the set { SIGINT 2, SIGTERM 15, SIGCHLD 17 }: bit = number - 1
        movk    x19, #1, lsl #16
        str     x19, [sp, #-16]!
        mov     x8, #135                                // rt_sigprocmask(
        mov     x0, #0                                  //   SIG_BLOCK,
        mov     x1, sp                                  //   &set,
        mov     x2, #0                                  //   NULL,
        mov     x3, #8                                  //   8 bytes)
        svc     #0

wait:   mov     x8, #137                                // rt_sigtimedwait(
        mov     x0, sp                                  //   &set,
        mov     x1, #0                                  //   no siginfo,
        mov     x2, #0                                  //   no timeout,
        mov     x3, #8                                  //   8 bytes)
        svc     #0
        cmp     w0, #17                                 // SIGCHLD
        b.eq    reap
        cmn     w0, #4                                  // EINTR: stopped and continued, or traced
        b.eq    wait
        lsr     w0, w0, #31                             // SIGTERM or SIGINT: exit 0
                                                        // no such system call here: exit 1 rather than spin

exit:   mov     x8, #94                                 // exit_group(code)
        svc     #0

reap:   mov     x8, #260                                // wait4(
        mov     x0, #-1                                 //   any child,
        mov     x1, #0                                  //   no status,
        mov     x2, #1                                  //   WNOHANG,
        mov     x3, #0                                  //   no rusage)
        svc     #0
        cmp     x0, #0
        b.gt    reap                                    // one signal may stand for many children
        b       wait
end:
