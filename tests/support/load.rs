//! Runs of `millrace-load`: flags in, exit code, text and figures out.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Tests share their CPUs with each other, and no figure of theirs is a measurement.
pub const WHATEVER_ELSE_RUNS: [&str; 2] = ["--waited-max", "1000"];

/// A run that is over.
pub struct Run {
    /// Exit code, and what was said; stdout is the result as JSON.
    pub output: Output,
    /// The result; null where there is none.
    pub result: Value,
}

/// `millrace-load` with `args` only, ended after 90 seconds.
pub fn millrace_load(args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["90", env!("CARGO_BIN_EXE_millrace-load")]).args(args).output().unwrap()
}

/// Loads the server at `address` with `flags` and waits for the end, at most 90 seconds.
pub fn load(address: SocketAddr, flags: &[&str]) -> Run {
    let usual = ["--server", &address.to_string(), "--json", "-"];
    Run::of(millrace_load(&[&usual[..], &WHATEVER_ELSE_RUNS, flags].concat()))
}

/// A run that has begun; killed when dropped.
pub struct Running(Option<Child>);

impl Running {
    /// Begins, and returns when measuring begins.
    pub fn start(address: SocketAddr, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
        command.args(["--server", &address.to_string(), "--json", "-"]).args(flags);
        command
            .args(WHATEVER_ELSE_RUNS)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap());
        while !said.contains("everybody is there") {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "ended with {said}");
        }
        Self(Some(child))
    }

    /// Waits for the end. What was on stderr up to a while behind the announcement is lost.
    pub fn wait(mut self) -> Run {
        Run::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Run {
    fn of(output: Output) -> Self {
        let result = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { output, result }
    }

    /// The exit code.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The text for people, progress included.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// A whole number of the result.
    pub fn count(&self, name: &str) -> u64 {
        self.result[name].as_u64().unwrap_or_else(|| panic!("no count {name}: {}", self.text()))
    }

    /// Any number of the result.
    pub fn number(&self, name: &str) -> f64 {
        self.result[name].as_f64().unwrap_or_else(|| panic!("no number {name}: {}", self.text()))
    }
}
