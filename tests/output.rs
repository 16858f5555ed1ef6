//! What the process writes: start lines, session lines, statistics and their sums.
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::limits::LOG_LINES_QUEUED;
use millrace::net::event_loop::{Message, waker_token};
use millrace::net::log_writer::{LogWriter, lines_lost};
use millrace::net::mailbox::{Mailbox, mailbox};
use millrace::net::supervisor::{LoopAddress, collect};
use millrace::rtmp::session::ClientRole;
use millrace::service::stats::{LoopReport, Report, Traffic, Writes};
use millrace::time::Millis;
use mio::{Poll, Waker};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Client, PATIENCE, Server, Wire, body, eventually};

/// The number behind `before` in a line.
fn figure(line: &str, before: &str) -> u64 {
    let rest = line.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {line}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {before:?} in {line}"))
}

#[test]
fn the_start_is_told_in_listeners_loops_limits_and_memory() {
    let server = Server::start(&[
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "[::1]:0",
        "--loops",
        "2",
        "--max-connections",
        "1000",
        "--max-publishers",
        "7",
    ]);
    let lines = server.lines();
    for (line, address) in lines.iter().zip(&server.addresses) {
        assert!(line.ends_with(&format!(" INFO  listening on {address}")), "{line}");
    }
    let line = &lines[2];
    assert!(line.contains(" INFO  2 loops "), "{line}");
    let limits = "limits: 1000 connections, unlimited per address, 7 publishers, unlimited \
                  streams, 8388608 bytes per message";
    assert!(line.contains(limits), "{line}");
    let fixed = figure(line, "fixed ");
    assert_eq!(figure(line, "rings "), 2 * 256 * 65_536);
    let parts = ["(loops ", "rings ", "mailboxes ", "connections ", "allocator "].map(|part| {
        let (_, sum) = line.split_once("fixed ").unwrap();
        figure(sum, part)
    });
    assert_eq!(fixed, parts.iter().sum::<u64>(), "{line}");
    assert_eq!(figure(line, "memory "), fixed + figure(line, "variable "), "{line}");
    let kernel = server.line(|line| line.contains("kernel socket buffers"));
    assert!(figure(&kernel, "at most ") > 0);
}

/// 2026-01-31T12:34:56.789Z
fn is_utc(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits =
        |(c, wanted): (char, char)| if wanted == 'd' { c.is_ascii_digit() } else { c == wanted };
    text.len() == shape.len() && text.chars().zip(shape.chars()).all(fits)
}

#[test]
fn a_session_has_one_number_in_log_and_statistics() {
    let server = Server::start(&[]);
    let mut publisher = Client::publish(server.address(), "live/number");
    publisher.video(0, &body::key(1, 1_000));
    let mut player = Client::play(server.address(), "live/number");
    player.message();
    let number = |what: &str| figure(&server.line(|l| l.ends_with(what)), "session ");
    let (publishing, playing) = (number("publishes live/number"), number("plays live/number"));
    assert_ne!(publishing, playing);
    let stats = server.stats_when("the player", |stats| stats["total"]["players"] == 1);
    let streams = stats["loops"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|report| report["streams"].as_array().unwrap().to_vec());
    let (mut publishers, mut players) = (Vec::new(), Vec::new());
    for stream in streams {
        publishers.extend(stream["publisher"].as_u64());
        players.extend(stream["players"].as_array().unwrap().iter().map(|p| p["session"].clone()));
    }
    assert_eq!(publishers, [publishing]);
    assert_eq!(players, [playing]);

    drop(player);
    publisher.raw(&[0xFF; 100]);
    server.closed_for("protocol");
    server.closed_for("peer_closed");
    for session in [publishing, playing] {
        let lines = server.lines();
        let of = |what: &str| {
            let wanted = format!("session {session} {what}");
            lines.iter().filter(|line| line.contains(&wanted)).count()
        };
        assert_eq!((of("from 127.0.0.1 on loop"), of("closed: ")), (1, 1), "{lines:?}");
    }
    for line in server.lines().iter().filter(|line| !line.starts_with('{')) {
        let mut words = line.split_whitespace();
        assert!(is_utc(words.next().unwrap()), "{line}");
        assert!(["INFO", "WARN"].contains(&words.next().unwrap()), "{line}");
    }
}

#[test]
fn session_lines_are_limited_and_the_rest_is_counted() {
    let server = Server::start(&["--loops", "1"]);
    const ATTACKS: u64 = 1_000;
    for _ in 0..ATTACKS {
        drop(TcpStream::connect(server.address()).unwrap());
    }
    let stats = server.stats_when("all attacks over", |stats| {
        let total = &stats["total"];
        total["accepted"] == ATTACKS && total["connections"] == 0
    });
    let suppressed = stats["total"]["log_lines_suppressed"].as_u64().unwrap();
    assert!(suppressed > 0, "a line for each start and end is too much: {stats}");
    // What is left out is told once the second is over, although nothing else happens.
    eventually("the number of lines left out", || {
        let lines = server.lines();
        let told = lines.iter().filter(|line| line.contains(" session lines were not logged"));
        let told: u64 = told.map(|line| figure(line, "WARN  ")).sum();
        let written =
            lines.iter().filter(|line| line.contains(" session ") && !line.contains("not"));
        let written = written.filter(|line| line.contains("from") || line.contains("closed"));
        (told == suppressed && written.count() as u64 + told == 2 * ATTACKS).then_some(())
    });
}

/// Killed when dropped.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pipe takes 64 KiB, less what does not fit into the rest of a page.
const PIPE_BYTES: u64 = 50_000;

#[test]
fn a_stderr_that_nobody_reads_stops_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["--listen", "127.0.0.1:0", "--loops", "1", "--stats-interval", "1ms"]);
    let mut server = Unread(command.stderr(Stdio::piped()).spawn().unwrap());
    let stderr = server.0.stderr.take().unwrap();
    let pipe = stderr.as_fd().try_clone_to_owned().unwrap();
    let mut lines = BufReader::new(stderr).lines().map(Result::unwrap);
    let first = lines.find(|line| line.contains("listening on ")).unwrap();
    let address = first.split_once("listening on ").unwrap().1.parse().unwrap();
    // The statistics fill the pipe: the log thread hangs in its write.
    let mut publisher = Client::publish(address, "live/unread");
    let mut player = Client::play(address, "live/unread");
    let began = Instant::now();
    let mut number = 0;
    let mut after_that = 0;
    while after_that < 500 {
        assert!(began.elapsed() < PATIENCE, "the pipe fills");
        after_that += u32::from(ioctl_fionread(&pipe).unwrap() > PIPE_BYTES);
        number += 1;
        publisher.video(number * 10, &body::key(number.into(), 1_000));
        assert_eq!(body::number(&player.message().body), u64::from(number));
    }
    // It ends in order as well.
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    player.expect_status("NetStream.Play.UnpublishNotify");
    drop((publisher, player));
    let status = eventually("the end", || server.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    // What had filled the pipe is still there, and more had no room.
    let left: u64 = lines.map(|line| line.len() as u64 + 1).sum();
    assert!(left > PIPE_BYTES, "{left} bytes were not read");
}

/// What the child of the next test is to do; the test itself runs without it.
const ROLE: &str = "MILLRACE_TEST_LOG";

#[test]
fn log_lines_beyond_the_queue_are_dropped_and_counted() {
    const LINES: u64 = 20_000;
    if std::env::var_os(ROLE).is_some() {
        let mut writer = LogWriter::start().unwrap();
        for _ in 0..LINES {
            writer.write_all(&[b'x'; 100]).unwrap();
        }
        println!("lost {}", lines_lost());
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "log_lines_beyond_the_queue_are_dropped_and_counted"]);
    command.env(ROLE, "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Unread(command.spawn().unwrap());
    let stdout = BufReader::new(child.0.stdout.take().unwrap());
    let line = stdout.lines().map(Result::unwrap).find(|line| line.contains("lost ")).unwrap();
    // What fits into the queue and the pipe is written or waits.
    let lost = figure(&line, "lost ");
    let room = LOG_LINES_QUEUED as u64 + 1_000;
    assert!(lost >= LINES - room && lost < LINES, "{lost} of {LINES} lines lost");
}

/// Each number of the total is the sum over loops; each loop's, where it has parts, over streams.
fn check_sums(stats: &Value) {
    let loops = stats["loops"].as_array().unwrap();
    let sum = |name: &str| loops.iter().map(|report| report[name].as_u64().unwrap()).sum::<u64>();
    let total = stats["total"].as_object().unwrap();
    for (name, value) in total.iter().filter(|(name, _)| *name != "closes") {
        if name == "bytes_per_write" {
            let of_loops = || loops.iter().filter_map(|report| report[name].as_u64());
            assert!(value.as_u64() <= of_loops().max(), "of all writes: {stats}");
            continue;
        }
        assert_eq!(value.as_u64().unwrap(), sum(name), "{name} in {stats}");
    }
    for (reason, value) in total["closes"].as_object().unwrap() {
        let sum: u64 = loops.iter().map(|report| report["closes"][reason].as_u64().unwrap()).sum();
        assert_eq!(value.as_u64().unwrap(), sum, "{reason} in {stats}");
    }
    for report in loops {
        let streams = report["streams"].as_array().unwrap();
        let published = streams.iter().filter(|stream| !stream["publisher"].is_null()).count();
        assert_eq!(report["publishers"], published);
        let players = |stream: &Value| stream["players"].as_array().unwrap().clone();
        let count: usize = streams.iter().map(|stream| players(stream).len()).sum();
        assert_eq!(report["players"], count);
        for stream in streams {
            for name in ["bytes_out", "out_kbps"] {
                let sum = players(stream).iter().map(|p| p[name].as_u64().unwrap()).sum::<u64>();
                assert_eq!(stream[name], sum, "{name} of {stream}");
            }
        }
    }
}

#[test]
fn totals_are_the_sums_of_loops_streams_and_players_while_traffic_runs() {
    let server = Server::start(&["--loops", "3", "--stats-interval", "50ms"]);
    let paths = ["live/a", "live/b", "live/c", "live/d"];
    let mut publishers: Vec<Client> =
        paths.iter().map(|path| Client::publish(server.address(), path)).collect();
    let mut players: Vec<Client> =
        (0..9).map(|at| Client::play(server.address(), paths[at % 4])).collect();
    for round in 0..40_u32 {
        for publisher in &mut publishers {
            publisher.video(round * 40, &body::key(round.into(), 20_000));
        }
        for player in &mut players {
            assert_eq!(body::number(&player.message().body), u64::from(round));
        }
        if round % 10 == 5 {
            check_sums(&server.stats());
        }
    }
    let stats = server.stats();
    check_sums(&stats);
    assert_eq!(stats["total"]["players"], 9);
    assert_eq!(stats["total"]["publishers"], 4);
    assert_eq!(stats["silent_loops"].as_array().unwrap().len(), 0);
    let lines = server.lines();
    let reports = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rates: Vec<u64> =
        reports.map(|stats| stats["total"]["out_kbps"].as_u64().unwrap()).collect();
    assert!(rates.iter().any(|rate| *rate > 0), "bit rates while traffic runs: {rates:?}");
    let received: u64 = 40 * 20_000 * 9;
    assert!(stats["total"]["bytes_out"].as_u64().unwrap() > received);
}

#[test]
fn the_table_shows_loops_streams_players_lag_and_drops() {
    let server = Server::start(&["--loops", "3", "--stats-format", "table"]);
    let mut publisher = Client::publish(server.address(), "live/table");
    publisher.video(0, &body::key(1, 20_000));
    let mut player = Client::play(server.address(), "live/table");
    player.message();
    // The lines of one report come after one another.
    let report = eventually("a table with one player", || {
        let from = server.lines().len();
        server.signal(Signal::USR1);
        server.line_after(from, |line| line.contains("  player session"));
        let lines = server.lines();
        let first = lines.iter().rposition(|line| line.starts_with("memory: "))?;
        lines[first..].iter().any(|line| line.starts_with(" all ")).then(|| lines[first..].to_vec())
    });
    let numbers = |line: &str| -> Vec<u64> {
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let columns: Vec<&str> = report[1].split_whitespace().collect();
    let wanted = [
        "loop",
        "connections",
        "publishers",
        "players",
        "in_kbps",
        "out_kbps",
        "writes_per_s",
        "bytes_per_write",
        "skips",
        "lost",
    ];
    assert_eq!(columns, wanted);
    for (column, name) in wanted[1..].iter().enumerate().filter(|(_, n)| **n != "bytes_per_write") {
        let sum = report[2..5].iter().map(|row| numbers(row)[column]).sum::<u64>();
        assert_eq!(numbers(&report[5])[column], sum, "{name} in {report:#?}");
    }
    assert_eq!(&numbers(&report[5])[..3], [2, 1, 1]);
    let stream = report.iter().find(|line| line.contains("publisher session")).unwrap();
    assert!(stream.starts_with("stream live/table on loop "), "{stream}");
    assert!(stream.contains("20000 bytes and 1 frames in"), "{stream}");
    let player = report.iter().find(|line| line.starts_with("  player session ")).unwrap();
    assert!(player.contains(" lag 0 ms and 0 bytes, 0 skips, 0 frames skipped"), "{player}");
}

#[test]
fn bytes_per_write_are_those_of_the_interval_and_of_all_writes() {
    let report = |at: u64, loops: [(u64, u64); 3]| Report {
        at: Millis(at),
        loops: (0..)
            .zip(loops)
            .map(|(id, (writes, bytes))| LoopReport {
                id,
                traffic: Traffic::new(0, bytes),
                writes: Writes::new(writes),
                ..LoopReport::default()
            })
            .collect(),
        ..Report::default()
    };
    let before = report(1_000, [(100, 900_000), (0, 0), (7, 70)]);
    let mut now = report(3_000, [(140, 904_000), (10, 20_000), (7, 70)]);
    now.set_rates(Some(&before));
    let json: Value = serde_json::from_str(&now.json()).unwrap();
    let of = |report: &Value| (report["writes_per_s"].clone(), report["bytes_per_write"].clone());
    let loops: Vec<_> = json["loops"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(loops, [(20.into(), 100.into()), (5.into(), 2_000.into()), (0.into(), 0.into())]);
    assert_eq!(of(&json["total"]), (25.into(), 480.into()), "24 000 bytes in 50 writes");
    let all = now.table().lines().find(|line| line.starts_with(" all ")).unwrap().to_owned();
    let columns: Vec<&str> = all.split_whitespace().collect();
    assert_eq!(columns[6..8], ["25", "480"], "{all}");
}

#[test]
fn odd_stream_names_leave_the_statistics_valid_json() {
    let server = Server::start(&[]);
    let names: [&[u8]; 5] =
        [b"quo\"te", b"back\\slash", b"\xFF\xFE latin", "caf\u{e9}".as_bytes(), b"</{}[],:"];
    let mut clients = Vec::new();
    for name in names {
        let role = ClientRole::Publish { name: name.to_vec() };
        let mut client = Client::with(server.address(), "live", role);
        client.expect(&support::Got::Started);
        clients.push(client);
    }
    let stats = server.stats_when("all", |stats| stats["total"]["publishers"] == names.len());
    let mut keys = Vec::new();
    for report in stats["loops"].as_array().unwrap() {
        let streams = report["streams"].as_array().unwrap();
        keys.extend(streams.iter().map(|stream| stream["key"].as_str().unwrap().to_owned()));
    }
    for name in names {
        let wanted = format!("live/{}", name.escape_ascii());
        assert!(keys.contains(&wanted), "{wanted} in {keys:?}");
    }
    // Control characters are no names: neither log nor statistics get them.
    let role = ClientRole::Publish { name: b"line\nbreak".to_vec() };
    Client::with(server.address(), "live", role).expect_end();
    server.closed_for("protocol (NameRefused)");
    assert!(!server.lines().iter().any(|line| line.contains("break")));
}

fn empty_mailbox() -> (LoopAddress, Mailbox<Message>, Poll) {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), waker_token()).unwrap());
    let (address, mailbox) = mailbox(1, waker);
    (address, mailbox, poll)
}

#[test]
fn a_loop_that_does_not_answer_is_named() {
    let parts: Vec<_> = (0..3).map(|_| empty_mailbox()).collect();
    let addresses: Vec<LoopAddress> = parts.iter().map(|(address, ..)| address.clone()).collect();
    let mut mailboxes: Vec<_> =
        parts.into_iter().map(|(_, mailbox, poll)| (mailbox, poll)).collect();
    // Loop 2 answers, loop 1 takes mail but is busy, loop 0 has no room: its mailbox is full.
    assert!(addresses[0].try_send(Message::Shutdown(Millis(0))).is_ok());
    let (answers, _poll) = mailboxes.pop().unwrap();
    let answering = std::thread::spawn(move || {
        let message = eventually("the question", || answers.take());
        let Message::Report(to) = message else { panic!("{message:?}") };
        to.send(LoopReport { id: 2, connections: 5, ..LoopReport::default() }).unwrap();
    });
    let began = Instant::now();
    let patience = Duration::from_millis(400);
    let (loops, silent) = collect(&addresses, began, patience);
    assert!(began.elapsed() >= patience, "it waits as long as it may");
    answering.join().unwrap();
    assert_eq!(silent, [0, 1]);
    let report = Report { loops, silent, ..Report::default() };
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["silent_loops"].as_array().unwrap().len(), 2);
    assert_eq!(json["total"]["connections"], 5);
    for line in ["loop 0 did not answer", "loop 1 did not answer"] {
        assert!(report.table().contains(line), "{}", report.table());
    }
}

#[test]
fn a_report_lists_4096_streams_of_a_loop_and_counts_the_rest() {
    let server = Server::start(&["--loops", "1", "--hold", "60", "--hold-always"]);
    let mut wire = Wire::connect(server.address());
    let msid = wire.create_stream();
    for number in 0..4100 {
        wire.call(msid, "publish", &format!("name{number}"));
        wire.until(|packet| packet.code() == "NetStream.Publish.Start");
        wire.command(msid, "closeStream", |writer| {
            writer.null();
        });
    }
    let stats = server.stats_when("the last name", |s| s["total"]["publishers"] == 0);
    assert_eq!(stats["loops"][0]["streams"].as_array().unwrap().len(), 4096);
    assert_eq!(stats["total"]["streams_omitted"], 4);
}
