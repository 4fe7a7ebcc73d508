//! What a server has used, as the system accounts for it.

use std::fs;
use std::io;
use std::time::Duration;

/// What a process has used since it began, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Bytes that it made the system write to disks, as far as they were not taken back.
    pub written_bytes: u64,
    /// How often its living threads gave the processor up or lost it.
    pub switches: u64,
}

impl Usage {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// When there is no such process, or `/proc` says nothing about it.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        let mut switches = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end while we look.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
            switches += field(&status, "voluntary_ctxt_switches:")?;
            switches += field(&status, "nonvoluntary_ctxt_switches:")?;
        }
        Ok(Usage {
            cpu: braid_io::process::cpu_time(pid)?,
            rss_bytes: field(&status, "VmRSS:")? << 10,
            written_bytes: field(&io, "write_bytes:")?,
            switches,
        })
    }
}

/// The number behind `name` in a file of `name value` lines.
fn field(text: &str, name: &str) -> io::Result<u64> {
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc has no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmRSS:\t   1234 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t7\n";
        for (name, expected) in
            [("VmRSS:", 1234), ("voluntary_ctxt_switches:", 5), ("nonvoluntary_ctxt_switches:", 7)]
        {
            assert_eq!(field(text, name).unwrap(), expected);
        }
        assert!(field(text, "VmHWM:").is_err());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0 && !usage.cpu.is_zero());
    }
}
