//! How the system's allocator keeps memory.

/// Buffers from this size on (in bytes) go back to the system when they are freed. Below the documents of a device with many
/// points (2 MB), above all that is allocated often.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVEN_BACK_FROM: libc::c_int = 64 * 1024;

/// Has large buffers given back to the system as soon as they are freed. To be called before a process has threads.
///
/// A document that is read, kept on disk or sent is a buffer of up to some megabytes for a moment. glibc, once it has seen such a
/// buffer freed, keeps all later ones of that size among its small pieces, where they leave holes that stay for the life of the
/// process: a quarter of the agent's memory (mallopt(3), "dynamic mmap threshold"). A threshold that is set does not move.
///
/// Without effect on other systems, and on processes with an allocator of their own.
pub fn give_back_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no safe way to say it")]
    // SAFETY: both only set numbers of the allocator, and the caller is the only thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * GIVEN_BACK_FROM);
    }
}
