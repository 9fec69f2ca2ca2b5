# pause for linux/amd64. pause.md tells what it does; the other architectures follow the same labels line by line.
# The whole file, ELF headers included, is written here: make.sh assembles it and keeps the bytes as they are.

        .equ    BASE, 0x400000

ehdr:   .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0         # 64 bits, little-endian
        .quad   0
        .short  2, 62                                   # ET_EXEC, EM_X86_64
        .long   1
        .quad   BASE + (_start - ehdr)                  # entry
        .quad   phdr - ehdr
        .quad   0                                       # no sections
        .long   0                                       # flags
        .short  64, 56, 2, 0, 0, 0                      # header sizes; two program headers

phdr:   .long   1, 5                                    # PT_LOAD, readable and executable: this whole file
        .quad   0, BASE, BASE
        .quad   end - ehdr, end - ehdr, 0x1000
        .long   0x6474e551, 6                           # PT_GNU_STACK: the stack is not executable
        .quad   0, 0, 0, 0, 0, 16

        .globl  _start
_start: mov     $0x14002, %ebp                          # the set { SIGINT 2, SIGTERM 15, SIGCHLD 17 }: bit = number - 1
        push    %rbp
        mov     $14, %eax                               # rt_sigprocmask(
        xor     %edi, %edi                              #   SIG_BLOCK,
        mov     %rsp, %rsi                              #   &set,
        xor     %edx, %edx                              #   NULL,
        mov     $8, %r10d                               #   8 bytes)
        syscall

wait:   mov     $128, %eax                              # rt_sigtimedwait(
        mov     %rsp, %rdi                              #   &set,
        xor     %esi, %esi                              #   no siginfo,
        xor     %edx, %edx                              #   no timeout,
        mov     $8, %r10d                               #   8 bytes)
        syscall
        cmp     $17, %eax                               # SIGCHLD
        je      reap
        cmp     $-4, %eax                               # EINTR: stopped and continued, or traced
        je      wait
        xor     %edi, %edi                              # SIGTERM or SIGINT: exit 0
        test    %eax, %eax
        jns     exit
        inc     %edi                                    # no such system call here: exit 1 rather than spin

exit:   mov     $231, %eax                              # exit_group(code)
        syscall

reap:   mov     $61, %eax                               # wait4(
        or      $-1, %rdi                               #   any child,
        xor     %esi, %esi                              #   no status,
        mov     $1, %edx                                #   WNOHANG,
        xor     %r10d, %r10d                            #   no rusage)
        syscall
        test    %rax, %rax
        jg      reap                                    # one signal may stand for many children
        jmp     wait
end:
