//! A server process on port 0: its output, its statistics, its end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PATIENCE, eventually};

/// Numbers of loops: one that does everything, and some that work together.
pub const LOOPS: [&str; 2] = ["1", "3"];

type Lines = Arc<(Mutex<Vec<String>>, Condvar)>;

/// A running `millrace`; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens, in the order of `--listen`.
    pub addresses: Vec<SocketAddr>,
    lines: Lines,
}

impl Server {
    /// Starts with `flags` and waits until it listens. Listens on 127.0.0.1:0 where `flags` name
    /// no other address; statistics come as JSON.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, |_| {})
    }

    /// As [`Server::start`]; `prepare` may change the command (environment, limits).
    pub fn start_with(flags: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !flags.contains(&"--stats-format") {
            command.args(["--stats-format", "json"]);
        }
        command.args(flags).env_remove("RUST_LOG");
        prepare(&mut command);
        Self::spawn(command, " loops ")
    }

    /// Starts `millrace-load floor` with `flags` on 127.0.0.1:0; its counters are its statistics.
    pub fn floor(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
        command.args(["floor", "--listen", "127.0.0.1:0"]).args(flags);
        Self::spawn(command, "listening on ")
    }

    /// Runs `command` and waits for its line with `started`.
    fn spawn(mut command: Command, started: &str) -> Self {
        let (output, input) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(input.try_clone().unwrap()).stderr(input);
        let child = command.spawn().unwrap();
        // It holds the pipe's other end.
        drop(command);
        let lines = Lines::default();
        let shared = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
        let mut server = Self { child, addresses: Vec::new(), lines };
        server.line_after(0, |line| line.contains(started));
        let address =
            |line: &String| Some(line.split_once("listening on ")?.1.trim().parse().unwrap());
        server.addresses = server.lines().iter().filter_map(address).collect();
        server
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The address as an RTMP URL of `path` (`app/name`).
    pub fn url(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address())
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// All lines of stderr so far.
    pub fn lines(&self) -> Vec<String> {
        // A test that panicked with the lock in its hands still wants them shown.
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first line of stderr that `matches`; waits for it.
    pub fn line(&self, matches: impl Fn(&str) -> bool) -> String {
        self.line_after(0, matches)
    }

    /// The first line from number `from` on that `matches`; waits for it.
    pub fn line_after(&self, from: usize, matches: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            let found = lines.get(from..).unwrap_or_default().iter().find(|line| matches(line));
            if let Some(line) = found {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such line in:\n{}", lines.join("\n"));
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Statistics now (SIGUSR1, JSON).
    pub fn stats(&self) -> Value {
        let from = self.lines.0.lock().unwrap().len();
        self.signal(Signal::USR1);
        serde_json::from_str(&self.line_after(from, |line| line.starts_with('{'))).unwrap()
    }

    /// Statistics as soon as `matches` holds for them.
    pub fn stats_when(&self, what: &str, mut matches: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, || Some(self.stats()).filter(&mut matches))
    }

    /// Waits until `count` audio and video messages of the publisher of `key` are in its log.
    pub fn has_frames(&self, key: &str, count: u64) {
        let is_it = |stream: &Value| stream["key"] == key && stream["frames_in"] == count;
        let in_loop = |of: &Value| of["streams"].as_array().unwrap().iter().any(is_it);
        self.stats_when("the publisher's frames", |stats| {
            stats["loops"].as_array().unwrap().iter().any(in_loop)
        });
    }

    /// One figure of the totals.
    pub fn total(&self, name: &str) -> u64 {
        self.stats()["total"][name].as_u64().unwrap()
    }

    /// Waits until the session of a connection is closed for `reason` (as in the log line).
    pub fn closed_for(&self, reason: &str) -> String {
        self.line(|line| line.contains(&format!("closed: {reason}")))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut lines = self.lines();
            let statistics = lines.iter().rfind(|line| line.starts_with('{')).cloned();
            lines.retain(|line| !line.starts_with('{'));
            let shown = lines.len().saturating_sub(40);
            let last = lines[shown..].join("\n");
            eprintln!("the server's last lines:\n{last}\n{}", statistics.unwrap_or_default());
        }
    }
}
