//! Facts of the host: CPUs, memory, limits; and `--check`, which tells what it lacks.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{Config, Host};
use crate::limits::CONNECTIONS_EXPECTED;
use crate::net::{affinity, listener};

/// Reads the facts that defaults depend on.
#[must_use]
pub fn facts() -> Host {
    let ram = meminfo("MemTotal:").unwrap_or(1 << 30);
    Host {
        cpus: affinity::allowed_cpus(),
        cpu_quota: cpu_quota(),
        memory: memory_limits().fold(ram, u64::min),
        nofile: getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20),
    }
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

/// The contents of a file in this process's cgroup of a controller and in all above it: each of
/// them limits. `controller` is empty for version 2, and names the hierarchy in version 1.
fn cgroup_files(controller: &str, name: &str) -> Vec<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next()? == controller).then(|| fields.next())?
    });
    let mut path = path.unwrap_or_default().trim_end_matches('/');
    let mut found = Vec::new();
    loop {
        let file = format!("/sys/fs/cgroup/{controller}{path}/{name}");
        found.extend(fs::read_to_string(file).ok());
        let Some((above, _)) = path.rsplit_once('/') else { return found };
        path = above;
    }
}

fn memory_limits() -> impl Iterator<Item = u64> {
    let mut limits = cgroup_files("", "memory.max");
    limits.extend(cgroup_files("memory", "memory.limit_in_bytes"));
    limits.into_iter().filter_map(|text| text.trim().parse().ok())
}

/// CPUs that `cpu.max` allows, here or above.
fn cpu_quota() -> Option<f64> {
    let quota = |text: String| {
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    cgroup_files("", "cpu.max").into_iter().filter_map(quota).reduce(f64::min)
}

/// What the kernel may take for the buffers of one connection, in words.
#[must_use]
pub fn kernel_memory(config: &Config) -> String {
    let part = |flag: usize, max: &str, auto: &str| match flag {
        0 => sysctl_last(auto),
        // The kernel doubles what is asked for, to account for its own bookkeeping.
        bytes => sysctl_last(max).map(|max| max.min(bytes as u64) * 2),
    };
    let send = part(config.sndbuf, "net/core/wmem_max", "net/ipv4/tcp_wmem");
    let receive = part(config.rcvbuf, "net/core/rmem_max", "net/ipv4/tcp_rmem");
    let bytes = |limit: Option<u64>| limit.map_or("?".into(), |bytes| bytes.to_string());
    format!(
        "kernel socket buffers are not in that sum: at most {} bytes to send and {} bytes to \
         receive per connection",
        bytes(send),
        bytes(receive)
    )
}

/// What `--check` finds: what the host lacks, and ports that are in use.
#[must_use]
pub fn check(config: &Config, host: &Host) -> Vec<String> {
    let mut findings = shortages(config, host);
    findings.extend(check_ports(config));
    findings
}

/// What the host lacks for `config`, a sentence each. A server runs all the same, but not as told.
#[must_use]
pub fn shortages(config: &Config, host: &Host) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(check_nofile(config, host));
    findings.extend(check_backlog(config));
    findings.extend(check_buffers("sndbuf", config.sndbuf, "net/core/wmem_max"));
    findings.extend(check_buffers("rcvbuf", config.rcvbuf, "net/core/rmem_max"));
    if config.loops > host.cpus.len() {
        findings.push(format!(
            "pins: {} loops share {} CPUs, so loops wait for each other",
            config.loops,
            host.cpus.len()
        ));
    }
    findings
}

/// A default of `--max-connections` fits by itself; it lacks what people expect of a server.
fn check_nofile(config: &Config, host: &Host) -> Option<String> {
    let expected = config.max_connections.max(match config.connections_by_default {
        true => CONNECTIONS_EXPECTED,
        false => 0,
    });
    let needed = (expected + config.own_descriptors()) as u64;
    (host.nofile < needed).then(|| {
        format!(
            "nofile: the hard limit of open files is {}, {expected} connections need {needed}; \
             raise it or set --max-connections",
            host.nofile
        )
    })
}

fn check_backlog(config: &Config) -> Option<String> {
    let max = sysctl_last("net/core/somaxconn")?;
    (max < u64::from(config.backlog.unsigned_abs())).then(|| {
        format!("somaxconn: net.core.somaxconn is {max}, below --backlog {}", config.backlog)
    })
}

fn check_buffers(flag: &str, wanted: usize, name: &str) -> Option<String> {
    let max = sysctl_last(name)?;
    let dotted = name.replace('/', ".");
    (wanted as u64 > max).then(|| format!("buffers: {dotted} is {max}, below --{flag} {wanted}"))
}

/// All at once, as the server would: two addresses may exclude each other.
fn check_ports(config: &Config) -> Vec<String> {
    let mut bound = Vec::new();
    let mut findings = Vec::new();
    for &address in &config.listen {
        match listener::bind(address, 1, false) {
            Ok(listener) => bound.push(listener),
            Err(error) => findings.push(format!("port: cannot listen on {address}: {error}")),
        }
    }
    findings
}

/// The last number of a file under `/proc/sys`: of three, the greatest.
fn sysctl_last(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().last()?.parse().ok()
}
