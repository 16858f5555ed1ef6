//! The checked configuration: flags and host facts resolved into plain numbers.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use getopts::Matches;

use super::flags::{help, options};
use super::memory::{FixedMemory, UnitBytes};
use super::values::{Bounds, UsageError, duration_ms, is_log_filter, list, size};
use crate::limits;

/// Facts of the host that defaults depend on.
#[derive(Debug, Clone)]
pub struct Host {
    /// CPUs in the affinity mask.
    pub cpus: Vec<usize>,
    /// CPUs that a cgroup quota allows, if there is one.
    pub cpu_quota: Option<f64>,
    /// RAM, or the cgroup's limit if that is smaller, in bytes.
    pub memory: u64,
    /// Hard limit of open files.
    pub nofile: u64,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run the server.
    Run(Box<Config>),
    /// `--check`.
    Check(Box<Config>),
    /// Print this text.
    Print(String),
}

/// `--pin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// These CPUs, one per loop.
    To(Vec<usize>),
    /// No loop is pinned; why.
    Off(&'static str),
}

/// `--gop-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GopCache {
    /// Whole GOP.
    Gop,
    /// Newest keyframe.
    Keyframe,
    /// Nothing.
    Off,
}

/// `--takeover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeoverRule {
    /// Same address, or the current publisher is silent.
    Idle,
    /// Anybody.
    Always,
    /// Nobody.
    Never,
}

/// Every flag, parsed and checked. Sizes in bytes, times in ms.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the flag of its name; FLAGS documents it")]
pub struct Config {
    pub listen: Vec<SocketAddr>,
    pub loops: usize,
    pub pin: Pin,
    pub reuseport: bool,
    pub backlog: i32,
    pub nodelay: bool,
    pub sndbuf: usize,
    pub rcvbuf: usize,
    pub notsent_lowat: u32,
    pub ring_bytes: usize,
    pub rings: usize,
    pub turn_bytes: usize,
    pub flush_slice: usize,
    pub wake_at_once: bool,
    pub mailbox: usize,
    pub chunk_size: u32,
    pub gop_cache: GopCache,
    pub gop_bytes: u64,
    pub gop_ms: u64,
    pub max_lag_ms: u64,
    pub flush_ms: u64,
    pub merge_ms: u64,
    pub hold_ms: u64,
    pub hold_always: bool,
    pub takeover: TakeoverRule,
    pub wait_for_publisher: bool,
    pub wait_ms: u64,
    pub apps: Vec<String>,
    pub handshake_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub publisher_timeout_ms: u64,
    pub blocked_timeout_ms: u64,
    pub ping_interval_ms: u64,
    pub grace_ms: u64,
    pub max_connections: usize,
    /// `--max-connections` was not given.
    pub connections_by_default: bool,
    pub max_per_address: usize,
    pub max_publishers: usize,
    pub max_streams: usize,
    pub max_message: u32,
    pub memory: usize,
    pub stats_interval_ms: u64,
    pub stats_json: bool,
    pub log: Option<String>,
    pub demo: bool,
}

impl Config {
    /// Parses `args` (without the program's name).
    ///
    /// # Errors
    /// [`UsageError`]: one sentence that says what is wrong and what is allowed.
    pub fn parse(args: &[String], host: &Host) -> Result<Command, UsageError> {
        let matches = options().parse(args).map_err(|e| UsageError::Syntax(e.to_string()))?;
        if let Some(word) = matches.free.first() {
            return Err(UsageError::Stray(word.clone()));
        }
        if matches.opt_present("help") {
            return Ok(Command::Print(help()));
        }
        if matches.opt_present("version") {
            return Ok(Command::Print(format!("millrace {}\n", env!("CARGO_PKG_VERSION"))));
        }
        let config = Box::new(Self::build(&Values { matches: &matches }, host)?);
        let is_check = matches.opt_present("check");
        Ok(if is_check { Command::Check(config) } else { Command::Run(config) })
    }

    fn build(values: &Values<'_>, host: &Host) -> Result<Self, UsageError> {
        let loops = values.number("loops", host.cpus.len().max(1), 1..=limits::LOOPS_MAX as u64)?;
        let listen = values.listen()?;
        let reuseport = values.word("accept", &[("balance", false), ("reuseport", true)])?;
        let reserved = own_descriptors(loops, listen.len(), reuseport);
        let connections = usize::try_from(host.nofile).unwrap_or(1 << 20).saturating_sub(reserved);
        let memory = usize::try_from(host.memory / 10 * 7).unwrap_or(usize::MAX);
        Ok(Self {
            listen,
            loops,
            pin: values.pin(loops, host)?,
            reuseport,
            backlog: values.number("backlog", 4096, 1..=1 << 20)?,
            nodelay: values.word("nodelay", &[("on", true), ("off", false)])?,
            sndbuf: values.size("sndbuf", 0, 0..=1 << 30)?,
            rcvbuf: values.size("rcvbuf", 0, 0..=1 << 30)?,
            notsent_lowat: values.size("notsent-lowat", 128 << 10, 0..=1 << 30)?,
            ring_bytes: values.size("ring-bytes", 64 << 10, 4 << 10..=16 << 20)?,
            rings: values.number("rings", 256, 1..=65_536)?,
            turn_bytes: values.size("turn-bytes", 256 << 10, 1 << 10..=1 << 30)?,
            flush_slice: values.number("flush-slice", limits::FLUSH_SLICE_WRITES, 1..=65_536)?,
            wake_at_once: values.word("wake", &[("turn", false), ("message", true)])?,
            mailbox: values.number("mailbox", 4096, 1..=1 << 20)?,
            chunk_size: values.size(
                "chunk-size",
                limits::CHUNK_SIZE_DEFAULT,
                limits::CHUNK_SIZE_INITIAL.into()..=limits::CHUNK_SIZE_MAX.into(),
            )?,
            gop_cache: values.word(
                "gop-cache",
                &[("gop", GopCache::Gop), ("keyframe", GopCache::Keyframe), ("off", GopCache::Off)],
            )?,
            gop_bytes: values.size("gop-bytes", limits::GOP_BYTES, 64 << 10..=1 << 40)?,
            gop_ms: values.number("gop-ms", limits::GOP_MS, 0..=3_600_000)?,
            max_lag_ms: values.number("max-lag-ms", limits::LAG_MS, 100..=3_600_000)?,
            flush_ms: values.number("flush-ms", limits::FLUSH_MS, 0..=10_000)?,
            merge_ms: values.number("merge-ms", 0, 0..=10_000)?,
            hold_ms: values.time("hold", 10_000)?,
            hold_always: values.has("hold-always"),
            takeover: values.takeover()?,
            wait_for_publisher: values.word("no-publisher", &[("wait", true), ("fail", false)])?,
            wait_ms: values.time("wait", 30_000)?,
            apps: values.matches.opt_strs("app"),
            handshake_timeout_ms: values.time_above_zero("handshake-timeout", 10_000)?,
            idle_timeout_ms: values.time("idle-timeout", 180_000)?,
            publisher_timeout_ms: values.time("publisher-timeout", 30_000)?,
            blocked_timeout_ms: values.time("blocked-timeout", 10_000)?,
            ping_interval_ms: values.time("ping-interval", 30_000)?,
            grace_ms: values.time("grace", 10_000)?,
            max_connections: values.number("max-connections", connections.max(1), 1..=1 << 32)?,
            connections_by_default: !values.has("max-connections"),
            max_per_address: values.number("max-per-address", 0, 0..=1 << 32)?,
            max_publishers: values.number("max-publishers", 0, 0..=1 << 32)?,
            max_streams: values.number("max-streams", 0, 0..=1 << 32)?,
            max_message: values.size(
                "max-message",
                limits::MESSAGE_BYTES_MAX,
                64 << 10..=limits::CHUNK_SIZE_MAX.into(),
            )?,
            memory: values.size("memory", memory, 1 << 20..=1 << 50)?,
            stats_interval_ms: values.time("stats-interval", 0)?,
            stats_json: values.word("stats-format", &[("table", false), ("json", true)])?,
            log: values.log()?,
            demo: values.has("demo"),
        })
    }

    /// Open files that are no connections: one listener per address (and loop), polls and wakers
    /// of the loops, and some more.
    #[must_use]
    pub fn own_descriptors(&self) -> usize {
        own_descriptors(self.loops, self.listen.len(), self.reuseport)
    }

    /// What is taken at start.
    #[must_use]
    pub fn fixed_memory(&self, unit: UnitBytes) -> FixedMemory {
        FixedMemory {
            loops: self.loops.saturating_mul(unit.event_loop),
            rings: self.loops.saturating_mul(self.rings).saturating_mul(self.ring_bytes),
            mailboxes: self.loops.saturating_mul(self.mailbox).saturating_mul(unit.letter),
            connections: self.max_connections.saturating_mul(unit.connection),
            allocator: self.memory / limits::MEMORY_ALLOCATOR_PART,
        }
    }

    /// What is left of `--memory` for everything variable.
    ///
    /// # Errors
    /// [`UsageError::Memory`] with the sum.
    pub fn variable_memory(&self, fixed: FixedMemory) -> Result<usize, UsageError> {
        match self.memory.checked_sub(fixed.total()) {
            Some(left) if left > 0 => Ok(left),
            _ => Err(UsageError::Memory { fixed, memory: self.memory }),
        }
    }
}

fn own_descriptors(loops: usize, addresses: usize, reuseport: bool) -> usize {
    let listeners = if reuseport { loops * addresses } else { addresses };
    (32 + 2 * loops + listeners).max(limits::DESCRIPTORS_RESERVED)
}

/// Typed access to what getopts has found.
struct Values<'a> {
    matches: &'a Matches,
}

impl Values<'_> {
    fn has(&self, flag: &'static str) -> bool {
        self.matches.opt_present(flag)
    }

    fn wrong(flag: &'static str, given: &str, allowed: impl Into<String>) -> UsageError {
        UsageError::Value { flag, given: given.into(), allowed: allowed.into() }
    }

    /// A size in bytes within `range`, or the default.
    fn size<T: TryFrom<u64>>(
        &self,
        flag: &'static str,
        default: T,
        range: RangeInclusive<u64>,
    ) -> Result<T, UsageError> {
        let Some(given) = self.matches.opt_str(flag) else { return Ok(default) };
        let value = size(&given).filter(|value| range.contains(value));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let allowed = format!("a size {}, with K, M or G if you like", Bounds(&range));
            Self::wrong(flag, &given, allowed)
        })
    }

    /// A plain number within `range`, or the default.
    fn number<T: TryFrom<u64>>(
        &self,
        flag: &'static str,
        default: T,
        range: RangeInclusive<u64>,
    ) -> Result<T, UsageError> {
        let Some(given) = self.matches.opt_str(flag) else { return Ok(default) };
        let value = given.parse().ok().filter(|value| range.contains(value));
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
            let allowed = format!("a number from {} to {}", range.start(), range.end());
            Self::wrong(flag, &given, allowed)
        })
    }

    fn time(&self, flag: &'static str, default: u64) -> Result<u64, UsageError> {
        let Some(given) = self.matches.opt_str(flag) else { return Ok(default) };
        duration_ms(&given)
            .ok_or_else(|| Self::wrong(flag, &given, "seconds, or a number with ms, s or m"))
    }

    fn time_above_zero(&self, flag: &'static str, default: u64) -> Result<u64, UsageError> {
        match self.time(flag, default)? {
            0 => Err(Self::wrong(flag, "0", "a time above 0")),
            time => Ok(time),
        }
    }

    /// One of some words; the first is the default.
    fn word<T: Copy>(&self, flag: &'static str, words: &[(&str, T)]) -> Result<T, UsageError> {
        let given = self.matches.opt_str(flag);
        let wanted = given.as_deref();
        let found = words.iter().find(|(word, _)| wanted.is_none_or(|wanted| wanted == *word));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Self::wrong(flag, wanted.unwrap_or_default(), names.join(" or "))
        })
    }

    fn listen(&self) -> Result<Vec<SocketAddr>, UsageError> {
        let mut given = self.matches.opt_strs("listen");
        if given.is_empty() {
            given.push("[::]:1935".into());
        }
        let allowed = "an address and a port, such as 0.0.0.0:1935 or [::1]:0";
        if let Some(text) = given.get(limits::LISTENERS_MAX) {
            let allowed = format!("at most {} addresses", limits::LISTENERS_MAX);
            return Err(Self::wrong("listen", text, allowed));
        }
        let parse = |text: &String| text.parse().map_err(|_| Self::wrong("listen", text, allowed));
        given.iter().map(parse).collect()
    }

    fn takeover(&self) -> Result<TakeoverRule, UsageError> {
        use TakeoverRule::{Always, Idle, Never};
        self.word("takeover", &[("idle", Idle), ("always", Always), ("never", Never)])
    }

    fn log(&self) -> Result<Option<String>, UsageError> {
        let given = self.matches.opt_str("log");
        match given.as_deref().filter(|text| !is_log_filter(text)) {
            Some(text) => Err(Self::wrong(
                "log",
                text,
                "off, error, warn, info, debug, trace, or a list such as \
                 info,millrace::net=debug",
            )),
            None => Ok(given),
        }
    }

    fn pin(&self, loops: usize, host: &Host) -> Result<Pin, UsageError> {
        match self.matches.opt_str("pin").as_deref() {
            None | Some("auto") => Ok(auto_pin(loops, host)),
            Some("off") => Ok(Pin::Off("--pin off")),
            Some(text) => {
                let allowed = format!(
                    "auto, off, or a list of {loops} CPUs (one per loop) out of {}",
                    comma_list(&host.cpus)
                );
                let cpus = list(text).filter(|cpus| {
                    cpus.len() == loops && cpus.iter().all(|cpu| host.cpus.contains(cpu))
                });
                cpus.map(Pin::To).ok_or_else(|| Self::wrong("pin", text, allowed))
            }
        }
    }
}

fn comma_list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Pins when every loop has a CPU of its own and nothing else decides; else says why not.
fn auto_pin(loops: usize, host: &Host) -> Pin {
    #[allow(clippy::cast_precision_loss, reason = "a number of CPUs is small")]
    let quota_is_less = host.cpu_quota.is_some_and(|quota| quota < loops as f64);
    if loops == 1 {
        Pin::Off("there is one loop")
    } else if loops != host.cpus.len() {
        Pin::Off("loops and CPUs differ in number")
    } else if quota_is_less {
        Pin::Off("the CPU quota is below the number of loops")
    } else {
        Pin::To(host.cpus.clone())
    }
}
