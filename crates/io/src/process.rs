//! What a process has used of the processor.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The largest number that Linux gives a process.
const PID_MAX: libc::pid_t = 1 << 22;

/// The processor time that all threads of the process `pid` have used so far, those that have ended included; in the kernel and
/// outside it, with the resolution of the scheduler (nanoseconds).
///
/// # Errors
/// When there is no such process, or the system does not let us look at it.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    // A larger number would be cut off in the clock's id and name another process; 0 would name this one.
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| (1..=PID_MAX).contains(pid));
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the second argument is a valid place for a clock's id, and nothing else is written.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the second argument is a valid place for a timespec.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has filled the timespec.
    let time = unsafe { time.assume_init() };
    // A process's time is never negative, and its nanoseconds are below a second.
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_nobody_has_none() {
        let before = cpu_time(std::process::id()).unwrap();
        let mut sum = 0u64;
        let mut after = before;
        while after == before {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            after = cpu_time(std::process::id()).unwrap();
        }
        assert!(after > before);
        for nobody in [0, PID_MAX as u32 + 1, i32::MAX as u32, u32::MAX] {
            assert_eq!(cpu_time(nobody).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{nobody}");
        }
    }
}
