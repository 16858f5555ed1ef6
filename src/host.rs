//! Facts of the host: CPUs, memory, limits; and `--check`, which tells what it lacks.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{Config, Host};
use crate::net::{affinity, listener};

/// Reads the facts that defaults depend on.
#[must_use]
pub fn facts() -> Host {
    let ram = meminfo("MemTotal:").unwrap_or(1 << 30);
    let memory = cgroup_number("memory.max").map_or(ram, |limit| limit.min(ram));
    let cpus = affinity::allowed_cpus();
    let nofile = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    Host { cpus, cpu_quota: cpu_quota(), memory, nofile }
}

/// Raises the soft limit of open files to the hard one.
///
/// # Errors
/// What the kernel says.
pub fn raise_nofile() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(Into::into)
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}

/// A file of this process's cgroup (v2), or of the root seen from a container.
fn cgroup_file(name: &str) -> Option<String> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let inside = format!("/sys/fs/cgroup{}/{name}", path.trim_end_matches('/'));
    fs::read_to_string(inside)
        .or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup/{name}")))
        .ok()
}

fn cgroup_number(name: &str) -> Option<u64> {
    cgroup_file(name)?.trim().parse().ok()
}

/// CPUs that `cpu.max` allows.
fn cpu_quota() -> Option<f64> {
    let text = cgroup_file("cpu.max")?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// What the host lacks for `config`, a sentence each.
#[must_use]
pub fn check(config: &Config, host: &Host) -> Vec<String> {
    let mut findings = Vec::new();
    let needed = config.max_connections as u64 + 128;
    if host.nofile < needed {
        findings.push(format!(
            "nofile: the hard limit of open files is {}, --max-connections {} needs {needed}",
            host.nofile, config.max_connections
        ));
    }
    let somaxconn = sysctl("net/core/somaxconn").unwrap_or(4096);
    if somaxconn < u64::from(config.backlog.unsigned_abs()) {
        findings.push(format!(
            "somaxconn: net.core.somaxconn is {somaxconn}, below --backlog {}",
            config.backlog
        ));
    }
    for (flag, wanted, name) in [
        ("sndbuf", config.sndbuf, "net/core/wmem_max"),
        ("rcvbuf", config.rcvbuf, "net/core/rmem_max"),
    ] {
        let max = sysctl(name).unwrap_or(u64::MAX);
        if wanted as u64 > max {
            let name = name.replace('/', ".");
            findings.push(format!("buffers: {name} is {max}, below --{flag} {wanted}"));
        }
    }
    for &address in &config.listen {
        if let Err(error) = listener::bind(address, 1, false) {
            findings.push(format!("port: cannot listen on {address}: {error}"));
        }
    }
    if config.loops > host.cpus.len() {
        findings.push(format!(
            "pins: {} loops share {} CPUs, so loops wait for each other",
            config.loops,
            host.cpus.len()
        ));
    }
    findings
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

/// Time since 1970 as 2026-01-31T12:34:56.789Z (civil calendar, proleptic Gregorian).
#[must_use]
pub fn utc(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01, so that leap days come last in a year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let ms = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}
