@ pause for linux/arm, v6 and later. pause.md tells what it does; the other architectures follow the same labels line by line.
@ The whole file, ELF headers included, is written here: make.sh assembles it and keeps the bytes as they are.

        .arch   armv6
        .arm
        .equ    BASE, 0x10000

ehdr:   .byte   0x7f, 'E', 'L', 'F', 1, 1, 1, 0         @ 32 bits, little-endian
        .long   0, 0
        .short  2, 40                                   @ ET_EXEC, EM_ARM
        .long   1
        .long   BASE + (_start - ehdr)                  @ entry
        .long   phdr - ehdr
        .long   0                                       @ no sections
        .long   0x05000400                              @ flags: EABI 5, hard float (it uses no floats at all)
        .short  52, 32, 2, 0, 0, 0                      @ header sizes; two program headers

phdr:   .long   1, 0, BASE, BASE                        @ PT_LOAD: this whole file,
        .long   end - ehdr, end - ehdr, 5, 0x1000       @ readable and executable
        .long   0x6474e551, 0, 0, 0                     @ PT_GNU_STACK: the stack is not executable
        .long   0, 0, 6, 16

        .globl  _start
_start: ldr     r4, =0x14002                            @ the set { SIGINT 2, SIGTERM 15, SIGCHLD 17 }: bit = number - 1
        mov     r5, #0
        push    {r4, r5}
        mov     r7, #175                                @ rt_sigprocmask(
        mov     r0, #0                                  @   SIG_BLOCK,
        mov     r1, sp                                  @   &set,
        mov     r2, #0                                  @   NULL,
        mov     r3, #8                                  @   8 bytes)
        svc     #0

wait:   mov     r7, #177                                @ rt_sigtimedwait(
        mov     r0, sp                                  @   &set,
        mov     r1, #0                                  @   no siginfo,
        mov     r2, #0                                  @   no timeout,
        mov     r3, #8                                  @   8 bytes)
        svc     #0
        cmp     r0, #17                                 @ SIGCHLD
        beq     reap
        cmn     r0, #4                                  @ EINTR: stopped and continued, or traced
        beq     wait
        lsr     r0, r0, #31                             @ SIGTERM or SIGINT: exit 0
                                                        @ no such system call here: exit 1 rather than spin

exit:   mov     r7, #248                                @ exit_group(code)
        svc     #0

reap:   mov     r7, #114                                @ wait4(
        mvn     r0, #0                                  @   any child,
        mov     r1, #0                                  @   no status,
        mov     r2, #1                                  @   WNOHANG,
        mov     r3, #0                                  @   no rusage)
        svc     #0
        cmp     r0, #0
        bgt     reap                                    @ one signal may stand for many children
        b       wait
        .ltorg                                          @ the set, as ldr finds it
end:
