//! The verdict on every call: can it happen in a run without the program asking for it there?
//!
//! Those that can, each with its cause; `never.rs` has all the others, by what asks for them. The names are those of
//! x86-64, ia32 and arm64 together; `docs/calls.md` says the same to a reader.

use super::{Cause, Kind, Rule};

/// In every program.
const ALWAYS: Cause = Cause {
    calls: &[],
    without: None,
    what: "any program",
};
/// Every C library makes this call before main (`__libc_setup_tls` of glibc, `static_init_tls` of musl).
const LIBRARY: Cause = Cause {
    calls: &[&["set_tid_address"]],
    without: None,
    what: "what a C library starts: set_tid_address",
};
/// glibc makes `set_robust_list` at every start; musl does not.
const MUSL: Cause = Cause {
    calls: &[&["set_tid_address"]],
    without: Some("set_robust_list"),
    what: "what musl starts: set_tid_address without set_robust_list",
};
const THREADS: Cause = Cause {
    calls: &[&["clone", "clone3"]],
    without: None,
    what: "what has threads or children: clone",
};
/// glibc makes `set_robust_list` in every thread; locks in shared memory need no thread of one's own.
const LOCKS: Cause = Cause {
    calls: &[&["clone", "clone3", "set_robust_list"]],
    without: None,
    what: "what may share locks: clone or set_robust_list",
};
/// Go's runtime, too, which makes no call of [`LIBRARY`].
const CRASHES: Cause = Cause {
    calls: &[&["clone", "clone3", "set_tid_address"]],
    without: None,
    what: "what a C library starts, or has threads: set_tid_address or clone",
};
const STREAMS: Cause = Cause {
    calls: &[&["set_tid_address"], &["read", "readv"]],
    without: None,
    what: "what a C library starts and reads: set_tid_address and read",
};
const CHANNELS: Cause = Cause {
    calls: &[&[
        "accept",
        "accept4",
        "connect",
        "pipe",
        "pipe2",
        "socket",
        "socketcall",
        "socketpair",
    ]],
    without: None,
    what: "what has pipes or sockets: pipe, socket, accept",
};
const CONNECTIONS: Cause = Cause {
    calls: &[&["connect", "socketcall"]],
    without: None,
    what: "what connects: connect",
};
const CHILDREN: Cause = Cause {
    calls: &[&["clone", "clone3", "fork", "vfork"]],
    without: None,
    what: "what has children: clone, fork or vfork",
};
const WAITS: Cause = Cause {
    calls: &[
        &["rt_sigaction", "sigaction"],
        &["wait4", "waitid", "waitpid"],
    ],
    without: None,
    what: "what handles signals and waits for children: rt_sigaction and wait4",
};
const ALLOCATES: Cause = Cause {
    calls: &[&["fallocate"]],
    without: None,
    what: "what allocates: fallocate",
};
const STORES: Cause = Cause {
    calls: &[&["copy_file_range", "pwrite64", "pwritev", "pwritev2"]],
    without: None,
    what: "what writes in the midst of files, or copies them: pwrite64, copy_file_range",
};
const ASKS: Cause = Cause {
    calls: &[&["sendmmsg"]],
    without: None,
    what: "what sends several datagrams at once: sendmmsg",
};
const SYNCS: Cause = Cause {
    calls: &[&["fdatasync", "fsync", "sync_file_range"]],
    without: None,
    what: "what has data written to disk: fsync",
};
const READS_AT: Cause = Cause {
    calls: &[&["pread64", "preadv", "preadv2"]],
    without: None,
    what: "what reads in the midst of files: pread64",
};
const READS: Cause = Cause {
    calls: &[&["read", "readv"]],
    without: None,
    what: "what reads: read",
};
const WRITES: Cause = Cause {
    calls: &[&["write", "writev"]],
    without: None,
    what: "what writes: write",
};
const COPIES: Cause = Cause {
    calls: &[&["copy_file_range", "sendfile", "sendfile64", "splice"]],
    without: None,
    what: "what copies: sendfile, splice or copy_file_range",
};
const RING: Cause = Cause {
    calls: &[&["io_uring_setup"]],
    without: None,
    what: "what has a ring: io_uring_setup",
};
const AIO: Cause = Cause {
    calls: &[&["io_setup"]],
    without: None,
    what: "what has asynchronous requests: io_setup",
};

/// What can happen unasked.
pub(super) const RULES: [Rule; 31] = [
    Rule {
        kind: Kind::Kernel,
        calls: &["restart_syscall"],
        cause: ALWAYS,
        reason: "the kernel makes it after a stop and continue, a suspend or the freezer, for a call that waited",
        source: "ERESTART_RESTARTBLOCK, arch/x86/kernel/signal.c; restart_syscall(2)",
    },
    Rule {
        kind: Kind::Kernel,
        calls: &["rt_sigreturn", "sigreturn"],
        cause: ALWAYS,
        reason: "a signal handler returns with this call",
        source: "sigreturn(2)",
    },
    Rule {
        kind: Kind::Vdso,
        calls: &[
            "clock_getres",
            "clock_getres_time64",
            "clock_gettime",
            "clock_gettime64",
            "getcpu",
            "gettimeofday",
            "time",
        ],
        cause: ALWAYS,
        reason: "the vDSO answers without a call, except with another clock source or on another machine",
        source: "vdso(7); lib/vdso/gettimeofday.c",
    },
    Rule {
        kind: Kind::Vdso,
        calls: &["getrandom"],
        cause: LIBRARY,
        reason: "the vDSO answers from Linux 6.11 and glibc 2.41 on, and falls back; glibc 2.36 asks at the first \
                 malloc()",
        source: "lib/vdso/getrandom.c; tcache_key_initialize, malloc/malloc.c",
    },
    Rule {
        kind: Kind::Exit,
        calls: &["exit", "exit_group"],
        cause: ALWAYS,
        reason: "a thread or the program ends with this call",
        source: "_exit(2)",
    },
    Rule {
        kind: Kind::Exit,
        calls: &["getpid", "gettid", "rt_sigprocmask", "tgkill"],
        cause: CRASHES,
        reason: "abort(3), after a failed assertion or a corrupt stack or heap; Go wakes its threads by tgkill",
        source: "stdlib/abort.c and nptl/pthread_kill.c, glibc 2.36; preemptM, runtime/signal_unix.go",
    },
    Rule {
        kind: Kind::Exit,
        calls: &["tkill"],
        cause: MUSL,
        reason: "abort(3) of musl",
        source: "src/signal/raise.c, musl 1.2",
    },
    Rule {
        kind: Kind::Exit,
        calls: &["write", "writev"],
        cause: LIBRARY,
        reason: "the C library prints a message about an error",
        source: "__libc_message, sysdeps/posix/libc_fatal.c, glibc 2.36; __stdio_write.c, musl",
    },
    Rule {
        kind: Kind::Exit,
        calls: &["_llseek", "lseek"],
        cause: STREAMS,
        reason: "at exit, to give back what was read ahead of a file and not used",
        source: "_IO_unbuffer_all, libio/genops.c; exit(3)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["clock_nanosleep", "clock_nanosleep_time64", "nanosleep"],
        cause: ALWAYS,
        reason: "a retry sleeps: another task holds something, or has not made it yet; only the caller waits",
        source: "nanosleep(2); clock_nanosleep since glibc 2.31",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["futex", "futex_time64"],
        cause: LOCKS,
        reason: "a lock needs a call only if another task holds it",
        source: "futex(7)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["sched_yield"],
        cause: THREADS,
        reason: "a spinning lock lets other tasks run",
        source: "sched_yield(2); osyield, runtime/proc.go of Go",
    },
    Rule {
        kind: Kind::Contention,
        calls: &[
            "_newselect",
            "poll",
            "ppoll",
            "ppoll_time64",
            "pselect6",
            "pselect6_time64",
            "select",
        ],
        cause: CHANNELS,
        reason: "after EAGAIN, the program waits for a full or empty pipe or socket",
        source: "poll(2); wait_on_socket, nscd/nscd_helper.c, glibc",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["getsockopt"],
        cause: CONNECTIONS,
        reason: "after EINPROGRESS, the result of the connection",
        source: "connect(2)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["wait4", "waitid", "waitpid"],
        cause: CHILDREN,
        reason: "a child that outlived the recording ends",
        source: "wait(2)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &[
            "pause",
            "rt_sigprocmask",
            "rt_sigsuspend",
            "rt_sigtimedwait",
            "rt_sigtimedwait_time64",
        ],
        cause: WAITS,
        reason: "if a child has not ended yet, the program waits for its signal",
        source: "waitproc, src/jobs.c of dash; sigwaitinfo(2)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["io_uring_enter"],
        cause: RING,
        reason: "the kernel thread of a ring sleeps when idle, and this call wakes it",
        source: "IORING_SQ_NEED_WAKEUP, io_uring_setup(2)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["io_getevents"],
        cause: AIO,
        reason: "libaio asks the kernel only if its memory shows a finished request, or to wait",
        source: "src/io_getevents.c of libaio; io_getevents(2)",
    },
    Rule {
        kind: Kind::Fallback,
        calls: &[
            "fcntl",
            "fcntl64",
            "fstat",
            "fstat64",
            "fstatfs",
            "fstatfs64",
            "pread64",
            "pwrite64",
        ],
        cause: ALLOCATES,
        reason: "posix_fallocate(3) writes the data itself on a file system that does not support it",
        source: "sysdeps/posix/posix_fallocate.c, glibc 2.36",
    },
    Rule {
        kind: Kind::Fallback,
        calls: &["read", "write"],
        cause: COPIES,
        reason: "on a file system or descriptor that does not support it, the program copies by itself",
        source: "copy_file_range(2), sendfile(2): EINVAL, EXDEV, EOPNOTSUPP",
    },
    Rule {
        kind: Kind::Memory,
        calls: &["brk", "madvise", "mmap", "mmap2", "mremap", "munmap"],
        cause: LIBRARY,
        reason: "malloc(3) grows, moves and returns memory as the work requires",
        source: "malloc/malloc.c, glibc 2.36: sysmalloc, mremap_chunk, systrim; free.c, musl 1.2",
    },
    Rule {
        kind: Kind::Memory,
        calls: &["mprotect"],
        cause: THREADS,
        reason: "the heap of a thread grows, if the thread has its own",
        source: "grow_heap, malloc/arena.c, glibc 2.36",
    },
    Rule {
        kind: Kind::Memory,
        calls: &["sched_getaffinity"],
        cause: THREADS,
        reason: "malloc(3) asks for the number of processors when threads need more heaps",
        source: "arena_get2, malloc/arena.c; __get_nprocs_sched, glibc 2.35",
    },
    Rule {
        kind: Kind::Memory,
        calls: &["sysinfo"],
        cause: LIBRARY,
        reason: "qsort(3) of more than a kilobyte asks for the size of the memory",
        source: "stdlib/msort.c, glibc 2.36",
    },
    Rule {
        kind: Kind::Data,
        calls: &["ftruncate", "ftruncate64"],
        cause: STORES,
        reason: "a data file grows or shrinks once there is more data than its first block holds, or less",
        source: "ftruncate(2); my_chsize, mysys/my_chsize.c of MariaDB 10.11",
    },
    Rule {
        kind: Kind::Data,
        calls: &["pwrite64", "pwritev"],
        cause: STORES,
        reason: "several buffers are written with one call, and a single buffer with another",
        source: "ngx_write_chain_to_file, src/os/unix/ngx_files.c of nginx; pwritev(2)",
    },
    Rule {
        kind: Kind::Data,
        calls: &["pread64", "preadv"],
        cause: READS_AT,
        reason: "several buffers are read with one call, and a single buffer with another",
        source: "preadv(2)",
    },
    Rule {
        kind: Kind::Data,
        calls: &["readv"],
        cause: READS,
        reason: "several buffers are read with one call, and a single buffer with another",
        source: "readv(2); ngx_readv_chain, src/os/unix/ngx_readv_chain.c of nginx",
    },
    Rule {
        kind: Kind::Data,
        calls: &["writev"],
        cause: WRITES,
        reason: "several buffers are written with one call, and a single buffer with another",
        source: "writev(2); writevToClient, src/networking.c of Redis",
    },
    Rule {
        kind: Kind::Data,
        calls: &["fdatasync", "fsync", "sync_file_range"],
        cause: SYNCS,
        reason: "data goes to disk in steps of some megabytes; less data needs only one",
        source: "rioFileWrite, src/rio.c and redis_fsync, src/config.h of Redis; sync_file_range(2)",
    },
    Rule {
        kind: Kind::Contention,
        calls: &["sendto"],
        cause: ASKS,
        reason: "a query without an answer is sent again, alone",
        source: "__libc_res_nsend and send_dg, resolv/res_send.c, glibc 2.36",
    },
];
