//! CPU time, memory and context switches of processes, from `/proc`.
//!
//! ```text
//!   /proc/PID/task/TID/schedstat   ns on a CPU, ns waiting for one
//!   /proc/PID/task/TID/status      context switches
//!   /proc/PID/status               VmRSS, VmHWM
//!   /proc/PID/stat                 when it started: the same number may be another process
//! ```
//! Threads come and go: each [`Meter::sample`] adds what each thread has used since the last one,
//! so of a thread that ends only what it used after the last sample is lost.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::LoadError;

/// What a process has used since its meter began, and its memory now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time on CPUs, ns.
    pub(crate) cpu_ns: u64,
    /// Time that threads were ready and waited for a CPU, ns.
    pub(crate) waited_ns: u64,
    /// How often a thread went to sleep.
    pub(crate) voluntary: u64,
    /// How often a thread lost its CPU.
    pub(crate) involuntary: u64,
    /// Resident memory now, KiB.
    pub(crate) rss_kib: u64,
    /// The most of it in the life of the process, KiB.
    pub(crate) rss_max_kib: u64,
}

/// This process, and the server's.
#[derive(Debug)]
pub(crate) struct Meters {
    own: Meter,
    server: Option<Meter>,
}

impl Meters {
    /// With the server's where its number is known.
    ///
    /// # Errors
    /// It is not there, or this kernel does not count.
    pub(crate) fn new(server_pid: Option<u32>) -> Result<Self, LoadError> {
        let server = match server_pid {
            Some(pid) => Some(Meter::of(pid).map_err(|error| LoadError::NoServer(pid, error))?),
            None => None,
        };
        Ok(Self { own: Meter::of(std::process::id())?, server })
    }

    /// Counts from now on.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.own.begin()?;
        self.server = self.server.take().and_then(|mut it| it.begin().is_ok().then_some(it));
        Ok(())
    }

    /// What both have used since [`Meters::begin`]; a server that has ended is not measured.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn sample(&mut self) -> io::Result<(Usage, Option<Usage>)> {
        let server = self.server.as_mut().and_then(|meter| meter.sample().ok());
        Ok((self.own.sample()?, server))
    }
}

/// Counters of one thread, from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Thread {
    cpu_ns: u64,
    waited_ns: u64,
    voluntary: u64,
    involuntary: u64,
}

/// Follows one process.
#[derive(Debug)]
struct Meter {
    folder: PathBuf,
    started: u64,
    threads: HashMap<u64, Thread>,
    usage: Usage,
}

impl Meter {
    /// Of a process, from now on. It may not be there, or this kernel not count.
    fn of(pid: u32) -> io::Result<Self> {
        Self::in_folder(PathBuf::from(format!("/proc/{pid}")))
    }

    fn in_folder(folder: PathBuf) -> io::Result<Self> {
        let started = started(&folder)?;
        let mut meter = Self { folder, started, threads: HashMap::new(), usage: Usage::default() };
        meter.begin()?;
        Ok(meter)
    }

    /// Counts from now on.
    fn begin(&mut self) -> io::Result<()> {
        self.sample()?;
        self.usage = Usage::default();
        Ok(())
    }

    /// What was used since [`Meter::begin`]; an error where the process is gone.
    fn sample(&mut self) -> io::Result<Usage> {
        if started(&self.folder)? != self.started {
            return Err(io::ErrorKind::NotFound.into());
        }
        let threads = threads(&self.folder)?;
        for (id, now) in &threads {
            let before = self.threads.get(id).copied().unwrap_or_default();
            // Lower than before: a new thread with the number of an old one.
            let before = if now.cpu_ns < before.cpu_ns { Thread::default() } else { before };
            self.usage.cpu_ns += now.cpu_ns - before.cpu_ns;
            self.usage.waited_ns += now.waited_ns.saturating_sub(before.waited_ns);
            self.usage.voluntary += now.voluntary.saturating_sub(before.voluntary);
            self.usage.involuntary += now.involuntary.saturating_sub(before.involuntary);
        }
        self.threads = threads;
        let status = fs::read_to_string(self.folder.join("status"))?;
        self.usage.rss_kib = field(&status, "VmRSS:")?;
        self.usage.rss_max_kib = field(&status, "VmHWM:")?;
        Ok(self.usage)
    }
}

/// Its threads; those that end meanwhile are left out.
fn threads(folder: &Path) -> io::Result<HashMap<u64, Thread>> {
    let mut threads = HashMap::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for entry in fs::read_dir(folder.join("task"))? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match thread(&entry.path()) {
            Ok(thread) => _ = threads.insert(id, thread),
            Err(error) => failure = error,
        }
    }
    // A process has a thread.
    if threads.is_empty() { Err(failure) } else { Ok(threads) }
}

fn thread(folder: &Path) -> io::Result<Thread> {
    let schedstat = fs::read_to_string(folder.join("schedstat"))?;
    let mut times = schedstat.split_whitespace();
    let status = fs::read_to_string(folder.join("status"))?;
    Ok(Thread {
        cpu_ns: number(times.next())?,
        waited_ns: number(times.next())?,
        voluntary: field(&status, "voluntary_ctxt_switches:")?,
        involuntary: field(&status, "nonvoluntary_ctxt_switches:")?,
    })
}

/// Start of a process in clock ticks; its name, in parentheses, may hold anything.
fn started(folder: &Path) -> io::Result<u64> {
    let stat = fs::read_to_string(folder.join("stat"))?;
    let behind_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    number(behind_name.and_then(|rest| rest.split_whitespace().nth(19)))
}

/// The number behind `name` at the beginning of a line.
fn field(status: &str, name: &str) -> io::Result<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    number(rest.and_then(|rest| rest.split_whitespace().next()))
}

fn number(word: Option<&str>) -> io::Result<u64> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "this kernel does not count it");
    word.and_then(|word| word.parse().ok()).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up process; removed when dropped.
    struct Process(PathBuf);

    impl Process {
        fn new(name: &str) -> Self {
            let name = format!("millrace-load-{name}-{}", std::process::id());
            let process = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(process.0.join("task")).unwrap();
            process.started(77);
            fs::write(process.0.join("status"), "VmHWM:\t  90 kB\nVmRSS:\t  70 kB\n").unwrap();
            process
        }

        fn started(&self, ticks: u64) {
            let zeros = "0 ".repeat(18);
            fs::write(self.0.join("stat"), format!("5 (a) b) S {zeros}{ticks} 9 9\n")).unwrap();
        }

        fn thread(&self, id: u64, cpu_ns: u64, switches: u64) {
            let folder = self.0.join(format!("task/{id}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("schedstat"), format!("{cpu_ns} {} 66\n", 3 * cpu_ns)).unwrap();
            let twice = 2 * switches;
            let switches = format!(
                "voluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t{twice}\n"
            );
            fs::write(folder.join("status"), switches).unwrap();
        }

        fn end_thread(&self, id: u64) {
            fs::remove_dir_all(self.0.join(format!("task/{id}"))).unwrap();
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            // The next run has another name.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn threads_may_come_and_go_between_samples() {
        let process = Process::new("threads");
        process.thread(1, 1_000, 10);
        process.thread(2, 5_000, 10);
        let mut meter = Meter::in_folder(process.0.clone()).unwrap();
        process.thread(1, 1_400, 11);
        process.thread(3, 30, 4);
        let usage = meter.sample().unwrap();
        assert_eq!((usage.cpu_ns, usage.voluntary, usage.involuntary), (430, 5, 10));
        assert_eq!(usage.waited_ns, 3 * 430);
        assert_eq!((usage.rss_kib, usage.rss_max_kib), (70, 90));
        process.end_thread(2);
        process.thread(3, 10, 1);
        let usage = meter.sample().unwrap();
        assert_eq!(usage.cpu_ns, 440, "3 ended and its number was given again");
        meter.begin().unwrap();
        assert_eq!(meter.sample().unwrap().cpu_ns, 0, "counts from begin on");
    }

    #[test]
    fn another_process_with_the_same_number_is_not_measured() {
        let process = Process::new("reused");
        process.thread(1, 1_000, 10);
        let mut meter = Meter::in_folder(process.0.clone()).unwrap();
        process.started(78);
        assert_eq!(meter.sample().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert_eq!(Meter::of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let mut meter = Meter::of(std::process::id()).unwrap();
        let work = |_| {
            std::hint::black_box((0..100_000_u64).fold(0, u64::wrapping_add));
            meter.sample().unwrap()
        };
        let usage = (0..100_000).map(work).find(|usage| usage.cpu_ns >= 2_000_000);
        assert!(usage.unwrap().rss_kib > 0);
    }
}
