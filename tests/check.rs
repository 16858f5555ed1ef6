//! `--check`: each finding provoked, alone; and nothing said where nothing is missing.

use std::net::TcpListener;
use std::process::{Command, Output};

/// `--check` with these flags on top of ones that ask for little, with a limit of open files.
fn check(nofile: u32, flags: &[&str]) -> (Option<i32>, Vec<String>) {
    let script = format!("ulimit -n {nofile} && exec \"$0\" --check \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_millrace")]).args(flags);
    for (flag, value) in [("--listen", "127.0.0.1:0"), ("--backlog", "8"), ("--loops", "1")] {
        if !flags.contains(&flag) {
            shell.args([flag, value]);
        }
    }
    let Output { status, stdout, stderr } = shell.output().unwrap();
    let lines: Vec<String> =
        String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    let last = String::from_utf8(stderr).unwrap();
    assert_eq!(last.is_empty(), status.success(), "{last}");
    (status.code(), lines)
}

/// Exactly one finding, which starts with `subject` and says `fact`.
fn finds(nofile: u32, flags: &[&str], subject: &str, fact: &str) {
    let (code, lines) = check(nofile, flags);
    assert_eq!(code, Some(1), "{lines:?}");
    let [line] = &lines[..] else { panic!("one finding: {lines:?}") };
    assert!(line.starts_with(&format!("{subject}: ")) && line.contains(fact), "{line}");
}

fn sysctl(name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn a_good_host_has_no_findings() {
    let (code, lines) = check(2000, &["--max-connections", "500"]);
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines, ["nothing is missing for 500 connections, 1 loops"]);
    // What is said by default is what would be served.
    let (code, lines) = check(2000, &[]);
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines, ["nothing is missing for 1872 connections, 1 loops"]);
}

#[test]
fn too_few_open_files_are_found() {
    let fact = "is 600, 500 connections need 628";
    finds(600, &["--max-connections", "500"], "nofile", fact);
    assert_eq!(check(628, &["--max-connections", "500"]).0, Some(0));
    // A default that adapts to whatever there is must not call a small limit good.
    finds(600, &[], "nofile", "is 600, 1000 connections need 1128");
}

#[test]
fn a_backlog_above_somaxconn_is_found() {
    let fact = format!("net.core.somaxconn is {}, below --backlog 1048576", sysctl("somaxconn"));
    finds(2000, &["--backlog", "1048576"], "somaxconn", &fact);
}

#[test]
fn buffers_above_what_the_kernel_allows_are_found() {
    for (flag, name) in [("--sndbuf", "wmem_max"), ("--rcvbuf", "rmem_max")] {
        let fact = format!("net.core.{name} is {}, below {flag} 1073741824", sysctl(name));
        finds(2000, &[flag, "1G"], "buffers", &fact);
    }
}

#[test]
fn a_port_in_use_is_found() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let fact = format!("cannot listen on {address}: Address already in use");
    finds(2000, &["--listen", &address], "port", &fact);
    // The same address twice; this one is free, as nobody else uses it.
    let twice = format!("127.0.0.9:{}", taken.local_addr().unwrap().port());
    assert_eq!(check(2000, &["--listen", &twice]).0, Some(0));
    finds(2000, &["--listen", &twice, "--listen", &twice], "port", "Address already in use");
}

#[test]
fn more_loops_than_cpus_are_found() {
    let cpus = millrace::net::affinity::allowed_cpus().len();
    let loops = (cpus + 1).to_string();
    finds(2000, &["--loops", &loops], "pins", &format!("{loops} loops share {cpus} CPUs"));
}

#[test]
fn check_of_wrong_flags_is_a_usage_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["--check", "--memory", "1M", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
