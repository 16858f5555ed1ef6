//! What `millrace-load` reports: the same figures in every form, resources, progress, promises.
mod support;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;
use serde_json::Value;
use support::Server;
use support::load::{Running, WHATEVER_ELSE_RUNS, load};
use support::programs::Scratch;

const SHORT: [&str; 4] = ["--players", "4", "--time", "500ms"];

/// Header and row of a CSV file, without quotes.
fn csv(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let cells = |line: &str| -> Vec<String> { line.split(',').map(String::from).collect() };
    let (names, values) = (cells(lines[0]), cells(lines[1]));
    assert_eq!(names.len(), values.len());
    names.into_iter().zip(values).collect()
}

#[test]
fn json_and_csv_show_the_same_fields_and_values() {
    let server = Server::start(&[]);
    let scratch = Scratch::new("load-forms");
    let (json, table) = (scratch.file("run.json"), scratch.file("run.csv"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
    command.args(["--server", &server.address().to_string()]).args(SHORT);
    command.args(WHATEVER_ELSE_RUNS).arg("--json").arg(&json).arg("--csv").arg(&table);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("everybody is there\n") && said.ends_with("good\n"), "{said}");
    let json = fs::read_to_string(json).unwrap();
    let result: Value = serde_json::from_str(&json).unwrap();
    let fields = csv(&fs::read_to_string(table).unwrap());
    assert_eq!(fields.len(), result.as_object().unwrap().len());
    let mut last = 0;
    for (name, value) in &fields {
        let text = if result[name].is_null() { String::new() } else { result[name].to_string() };
        assert_eq!(*value, text, "{name}");
        let at = json.find(&format!("\"{name}\":")).unwrap();
        assert!(at > last, "{name} is not in the same order");
        last = at;
    }
    assert_eq!(result["players"], 4);
}

#[test]
fn a_dash_gives_stdout_to_the_form_for_programs() {
    let server = Server::start(&[]);
    let json = load(server.address(), &SHORT);
    assert!(json.result.is_object(), "stdout is one object: {:?}", json.output);
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
    command.args(["--server", &server.address().to_string()]).args(SHORT);
    let output = command.args(["--csv", "-"]).args(WHATEVER_ELSE_RUNS).output().unwrap();
    csv(&String::from_utf8(output.stdout).unwrap());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("everybody is there\n") && text.ends_with("good\n"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_at_the_start() {
    let server = Server::start(&[]);
    let run = load(server.address(), &[&SHORT[..], &["--csv", "/nowhere/run.csv"]].concat());
    assert_eq!(run.code(), Some(1));
    assert!(run.text().contains("cannot write /nowhere/run.csv"), "{}", run.text());
    assert_eq!(server.total("accepted"), 0, "nobody has connected");
}

/// CPU time of a process and all its threads since its start, ms.
fn cpu_ms(server: &Server) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    // USER_HZ is 100.
    ticks * 10.0
}

#[test]
fn the_servers_process_is_measured_where_its_number_is_given() {
    let server = Server::start(&["--loops", "2"]);
    let pid = server.pid().to_string();
    let flags = ["--players", "40", "--time", "1", "--server-pid", &pid];
    let before_ms = cpu_ms(&server);
    let run = load(server.address(), &flags);
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let used_ms = run.number("server_cpu_ms");
    // What the kernel counts for the whole of the run, in steps of 10 ms, twice.
    let whole_ms = cpu_ms(&server) - before_ms + 20.0;
    assert!(used_ms > 0.0 && used_ms <= whole_ms, "{used_ms} of {whole_ms} ms");
    let percent = used_ms / run.number("time_s") / 10.0;
    assert!((run.number("server_cpu_percent") - percent).abs() < 0.01, "{percent}");
    let (now, most) = (run.count("server_rss_kib"), run.count("server_rss_max_kib"));
    assert!(now > 1000 && now <= most && most < 1_000_000, "{now} {most}");
    assert!(run.count("server_voluntary_switches") > 0);
    run.count("server_involuntary_switches");
    let (gbit, both) = (run.number("cpu_ms_per_gbit"), run.number("both_cpu_ms_per_gbit"));
    assert!(gbit > 0.0 && both > gbit, "{gbit} {both}");
    assert!(run.number("load_cpu_ms") > 0.0 && run.count("load_rss_kib") > 1000);

    let alone = load(server.address(), &SHORT);
    for (name, value) in alone.result.as_object().unwrap() {
        let is_of_server = name.starts_with("server_") || name.ends_with("_per_gbit");
        assert_eq!(value.is_null(), is_of_server || is_unasked(name), "{name}: {value}");
    }
}

/// Times of joins that nobody asked for, and the failure that there was not.
fn is_unasked(name: &str) -> bool {
    let modes = ["churn", "storm"];
    let is_time = name.ends_with("_ms") && modes.iter().any(|mode| name.starts_with(mode));
    is_time || name == "first_failure"
}

#[test]
fn a_server_process_that_is_not_there_is_an_error_at_the_start() {
    let server = Server::start(&[]);
    let run = load(server.address(), &["--server-pid", "4194305"]);
    assert_eq!(run.code(), Some(1));
    let text = run.text();
    assert!(text.starts_with("millrace-load: --server-pid 4194305: no process"), "{text}");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(server.total("accepted"), 0, "nobody has connected");
}

#[test]
fn a_server_process_that_ends_is_told_and_breaks_the_run() {
    let mut server = Server::start(&["--grace", "0"]);
    let pid = server.pid().to_string();
    let flags = ["--players", "4", "--time", "60", "--server-pid", &pid];
    let running = Running::start(server.address(), &flags);
    server.signal(Signal::KILL);
    server.wait();
    let run = running.wait();
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert!(run.text().contains(&format!("process {pid} was not there to the end")));
    assert!(run.result["server_cpu_ms"].is_null() && run.result["good"] == false);
}

#[test]
fn a_line_of_progress_comes_each_second_unless_quiet() {
    let server = Server::start(&[]);
    let pid = server.pid().to_string();
    let flags = ["--players", "4", "--time", "2", "--server-pid", &pid];
    let is_progress = |line: &&str| line.contains(" s: 4 players, ");
    let loud = load(server.address(), &flags).text();
    let lines: Vec<&str> = loud.lines().filter(is_progress).collect();
    assert!(lines.len() >= 2, "{loud}");
    for word in ["Mbit/s, p99 ", " ms, 0 gaps, CPU: load ", " %, server "] {
        assert!(lines[1].contains(word), "{loud}");
    }
    let quiet = load(server.address(), &[&flags[..], &["--quiet"]].concat()).text();
    assert_eq!(quiet.lines().filter(|line| line.contains(" s: ")).count(), 0, "{quiet}");
}

#[test]
fn a_stderr_that_nobody_reads_costs_lines_and_no_time() {
    let server = Server::start(&[]);
    let scratch = Scratch::new("load-unread");
    let json = scratch.file("run.json");
    let (_unread, mut full) = io::pipe().unwrap();
    fcntl_setfl(&full, OFlags::NONBLOCK).unwrap();
    let filled = std::iter::repeat_with(|| full.write(&[b'.'; 4096])).find_map(Result::err);
    assert_eq!(filled.unwrap().kind(), ErrorKind::WouldBlock);
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_millrace-load"), "--players", "2", "--time", "2"]);
    command.args(["--server", &server.address().to_string()]).args(WHATEVER_ELSE_RUNS);
    // The text goes to stderr too.
    command.args(["--csv", "-", "--json"]).arg(&json).stdout(Stdio::null()).stderr(full);
    let status = command.status().unwrap();
    assert!(status.success(), "{status}");
    let result: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(result["joined"], 2);
}

/// A process that always wants this CPU, a minute at most; killed when dropped.
struct Busy(Child);

impl Busy {
    fn on(cpu: &str) -> Self {
        let work = "ulimit -t 60; while :; do :; done";
        let mut command = Command::new("taskset");
        Self(command.args(["-c", cpu, "sh", "-c", work]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_load_that_others_keep_from_its_cpu_is_invalid() {
    let server = Server::start(&[]);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let cpu = cpus.trim().split(['-', ',']).next().unwrap();
    let _busy = Busy::on(cpu);
    let run = |waited_max: &str| {
        let mut command = Command::new("taskset");
        command.args(["-c", cpu, env!("CARGO_BIN_EXE_millrace-load"), "--json", "-"]);
        command.args(["--server", &server.address().to_string(), "--waited-max", waited_max]);
        command.args(["--players", "20", "--time", "1"]).output().unwrap()
    };
    for (waited_max, code) in [("0", 1), ("1000", 0)] {
        let output = run(waited_max);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(result["load_waited_percent"].as_f64() > Some(0.0), "{result}");
        assert_eq!((result["valid"] == true, result["good"] == true), (code == 0, true));
        assert_eq!(text.contains("\nINVALID: the load waited for a CPU in "), code == 1, "{text}");
    }
}

#[test]
fn a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1() {
    let server = Server::start(&[]);
    let pid = server.pid().to_string();
    let usual = ["--players", "4", "--verify-every", "1", "--time", "300ms", "--server-pid", &pid];
    let promises = [
        ("--expect-p99-ms", "latency p99 "),
        ("--expect-p999-ms", "latency p99.9 "),
        ("--expect-max-ms", "latency max "),
        ("--expect-join-ms", "join p99 "),
        ("--expect-server-cpu", "server CPU "),
    ];
    let all: Vec<&str> = promises.iter().flat_map(|(flag, _)| [*flag, "60000"]).collect();
    let kept = load(server.address(), &[&usual[..], &all, &["--expect-no-gap"]].concat());
    assert_eq!(kept.code(), Some(0), "{}", kept.text());
    assert_eq!(kept.result["good"], true);
    for (flag, name) in promises {
        let broken = load(server.address(), &[&usual[..], &[flag, "0"]].concat());
        assert_eq!(broken.code(), Some(1), "{flag}: {}", broken.text());
        assert!(broken.text().contains(&format!("BROKEN: {name}")), "{flag}: {}", broken.text());
        assert_eq!(broken.result["good"], false);
    }
}

#[test]
fn a_gap_breaks_the_promise_that_there_is_none() {
    // In this mode a joiner gets no video from the cached keyframe to the next one.
    let server = Server::start(&["--gop-cache", "keyframe"]);
    let flags = ["--players", "20", "--connect-rate", "10", "--time", "1"];
    let free = load(server.address(), &flags);
    assert!(free.count("gaps") > 0 && free.code() == Some(0), "{}", free.text());
    let bound = load(server.address(), &[&flags[..], &["--expect-no-gap"]].concat());
    assert!(bound.count("gaps") > 0 && bound.code() == Some(1), "{}", bound.text());
    assert!(bound.text().contains(" gaps\n"), "{}", bound.text());
}

#[test]
fn the_promise_of_the_servers_cpu_needs_its_number() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let run = load(address, &["--expect-server-cpu", "50"]);
    assert_eq!(run.code(), Some(2));
    assert!(run.text().contains("together with --server-pid"), "{}", run.text());
}
