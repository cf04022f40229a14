//! What processes use of the machine, as the system tells it.

use std::{fs, io, time::Duration};

use anyhow::{Context, ensure};
use nix::{
    sys::{
        resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
        time::TimeValLike,
    },
    unistd::{SysconfVar, sysconf},
};

/// Returns the CPU time of a process so far, in user and kernel mode, of all its threads, ended ones too. It counts in
/// steps of the system's clock, which are 10 ms as a rule.
///
/// # Errors
///
/// If there is no such process.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The name in parentheses can hold anything. Behind it, utime and stime are fields 14 and 15 of proc_pid_stat(5).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |number: usize| -> anyhow::Result<u64> {
        let field = fields.split_ascii_whitespace().nth(number - 3).with_context(|| format!("{path}: {stat}"))?;
        Ok(field.parse()?)
    };
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the system does not tell its clock's ticks")?;
    ensure!(per_second > 0, "a clock of {per_second} ticks a second");
    Ok(Duration::from_secs_f64((ticks(14)? + ticks(15)?) as f64 / per_second as f64))
}

/// Returns the CPU time of this process so far.
///
/// # Errors
///
/// If the system does not tell.
pub fn own_cpu_time() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// Returns the CPU time of the calling thread so far.
///
/// # Errors
///
/// If the system does not tell.
pub(super) fn thread_cpu_time() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// Returns the resident memory of a process, in bytes.
///
/// # Errors
///
/// If there is no such process.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")).with_context(|| format!("{path}: no VmRSS"))?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}

/// Raises the bound of open files of this process, and of those that it starts, to the most that the system allows.
///
/// # Errors
///
/// If that is fewer than `needed`.
pub fn allow_open_files(needed: u64) -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(most >= needed, "the system allows no more than {most} open files, and {needed} are needed");
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{process, time::Instant};

    use super::*;

    #[test]
    fn time_that_this_process_spends_is_seen_both_ways() {
        let pid = process::id();
        let (before, own_before) = (cpu_time(pid).unwrap(), own_cpu_time().unwrap());
        let begun = Instant::now();
        let mut sum = 0_u64;
        // Far longer than the clock's step, however busy the machine is.
        while own_cpu_time().unwrap() - own_before < Duration::from_millis(200) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no time is counted");
            (0..100_000_u64).for_each(|number| sum = sum.wrapping_mul(31).wrapping_add(number));
        }
        assert!(cpu_time(pid).unwrap() - before >= Duration::from_millis(100), "{sum}");
    }

    #[test]
    fn memory_that_this_process_touches_is_seen() {
        let before = resident_bytes(process::id()).unwrap();
        let bytes = vec![1_u8; 64 << 20];
        let after = resident_bytes(process::id()).unwrap();
        assert!(after >= before + (32 << 20), "{before} and {after} with {} more", bytes.len());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(cpu_time(u32::MAX).is_err() && resident_bytes(u32::MAX).is_err());
    }
}
