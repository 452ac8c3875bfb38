/* pause: holds a pod's namespaces open. As PID 1 of a shared PID namespace it reaps orphans; it ends on SIGINT and
 * SIGTERM.
 *
 * Freestanding (no C library), so that its image is two kilobytes: the skiff binary carries it and every node made by
 * `skiff up` gets it without a registry. Linux system calls, x86-64 and arm64.
 */
#define SIGINT 2
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_BLOCK 0
#define WNOHANG 1

#if defined(__x86_64__)
#define NR_RT_SIGPROCMASK 14
#define NR_RT_SIGTIMEDWAIT 128
#define NR_WAIT4 61
#define NR_EXIT 60
static long call4(long nr, long a, long b, long c, long d)
{
    long ret;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return ret;
}
#elif defined(__aarch64__)
#define NR_RT_SIGPROCMASK 135
#define NR_RT_SIGTIMEDWAIT 137
#define NR_WAIT4 260
#define NR_EXIT 93
static long call4(long nr, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#else
#error "pause: this processor is not known yet"
#endif

#define BIT(signo) (1ul << ((signo)-1))

__attribute__((noreturn, used)) void _start(void)
{
    unsigned long wanted = BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGCHLD);
    call4(NR_RT_SIGPROCMASK, SIG_BLOCK, (long)&wanted, 0, sizeof wanted);
    for (;;) {
        long signo = call4(NR_RT_SIGTIMEDWAIT, (long)&wanted, 0, 0, sizeof wanted);
        if (signo == SIGINT || signo == SIGTERM)
            break;
        while (call4(NR_WAIT4, -1, 0, WNOHANG, 0) > 0) {
        }
    }
    for (;;)
        call4(NR_EXIT, 0, 0, 0, 0);
}
