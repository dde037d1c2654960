//! Memory that is not needed any more, given back to the system.
//!
//! Loading takes tens of megabytes for a moment (the kernel's types alone are five), and so does reading all
//! units' files; the allocator would keep them for weeks.

/// Keeps the allocator from holding on to what is free. To be called before there are threads.
pub(super) fn limit() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only numbers are passed, and no other thread allocates yet.
    unsafe {
        // An arena for each thread would keep free memory of its own.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Set, it is not raised by itself: what is large goes back when it is freed (mallopt(3)).
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// Gives back what is free, and the program's own pages: most were needed to start, two objects for the kernel
/// among them, or to write files. Those that are needed again come back by themselves.
pub(super) fn give_back() {
    page_out();
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn page_out() {
    unsafe extern "C" {
        // From the linker: the first byte of the program, and that behind its code (end(3)).
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).addr() / page * page;
    let end = (&raw const etext).addr() / page * page;
    // SAFETY: no content changes: it is read from the file again where it is needed. A kernel before 5.4
    // refuses, and all stays as it was.
    unsafe {
        libc::madvise(
            std::ptr::with_exposed_provenance_mut(start),
            end.saturating_sub(start),
            libc::MADV_PAGEOUT,
        );
    }
}
