//! Flags of the loops: their threads, read buffers, turns and mailboxes.
mod support;

use std::fs;

use millrace::net::affinity::allowed_cpus;
use millrace::rtmp::session::MediaKind;
use support::{Client, Server, body};

/// The CPUs that each loop's thread may use, as the kernel shows them, by loop.
fn cpus_of_loops(server: &Server) -> Vec<String> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap();
        if !name.starts_with("loop-") {
            continue;
        }
        let status = fs::read_to_string(task.join("status")).unwrap();
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        found.push((name.trim().to_owned(), cpus.unwrap().trim().to_owned()));
    }
    found.sort();
    found.into_iter().map(|(_, cpus)| cpus).collect()
}

#[test]
fn loops_and_pins_are_printed_and_run() {
    let cpus = allowed_cpus();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    let pinned = Server::start(&["--loops", "2", "--pin", &format!("{first},{last}")]);
    pinned.line(|line| line.contains(&format!("2 loops pinned to CPUs [{first}, {last}]")));
    pinned.total("connections");
    assert_eq!(cpus_of_loops(&pinned), [first.to_string(), last.to_string()]);

    let free = Server::start(&["--loops", "3", "--pin", "off"]);
    free.line(|line| line.contains("3 loops not pinned (--pin off)"));
    assert_eq!(free.stats()["loops"].as_array().unwrap().len(), 3);
    let all = cpus_of_loops(&free);
    assert_eq!(all.len(), 3, "a thread per loop");
    assert!(cpus.len() == 1 || all[0] != first.to_string(), "no loop is pinned: {all:?}");

    let alone = Server::start(&["--loops", "1"]);
    alone.line(|line| line.contains("1 loops not pinned (there is one loop)"));
}

/// Turns that a message of 1 MB takes.
fn turns(flags: &[&str]) -> u64 {
    let server = Server::start(&[&["--loops", "1", "--flush-ms", "0"], flags].concat());
    let mut publisher = Client::publish(server.address(), "live/turns");
    let before = server.total("turns");
    publisher.video(0, &body::key(1, 1_000_000));
    server.stats_when("the frame", |s| s["loops"][0]["streams"][0]["frames_in"] == 1);
    server.total("turns") - before
}

#[test]
fn turn_bytes_makes_more_turns() {
    let few = turns(&["--ring-bytes", "4K", "--turn-bytes", "1G"]);
    let many = turns(&["--ring-bytes", "4K", "--turn-bytes", "4K"]);
    assert!(many >= 1_000_000 / 4096, "{many} turns of at most 4 KiB");
    assert!(few < many / 2, "{few} turns without a budget");
}

#[test]
fn ring_bytes_decides_how_much_one_read_takes() {
    // A turn ends after the read that uses its budget up: with 1 KiB after one read.
    let many = turns(&["--ring-bytes", "4K", "--turn-bytes", "1K"]);
    let few = turns(&["--ring-bytes", "1M", "--turn-bytes", "1K"]);
    assert!(many >= 1_000_000 / 4096, "{many} reads of at most 4 KiB");
    assert!(few < many / 2, "{few} reads of at most 1 MiB");
    let server = Server::start(&["--loops", "2", "--rings", "3", "--ring-bytes", "8K"]);
    server.line(|line| line.contains("rings 49152,"));
}

/// How often a ring was missing while two publishers sent more than one turn takes.
fn shortages(rings: &str) -> u64 {
    let server = Server::start(&["--loops", "1", "--rings", rings]);
    let mut publishers: Vec<Client> =
        ["live/a", "live/b"].iter().map(|path| Client::publish(server.address(), path)).collect();
    let mut burst = Vec::new();
    for number in 0..20_000 {
        burst.extend(publishers[0].encode(MediaKind::Audio, number, &[0xAF, 1, 0, 0]));
    }
    for publisher in &mut publishers {
        assert!(publisher.raw(&burst));
    }
    server.stats_when("all frames of both", |stats| {
        let streams = stats["loops"][0]["streams"].as_array().unwrap();
        streams.iter().map(|stream| stream["frames_in"].as_u64().unwrap()).sum::<u64>() == 40_000
    });
    server.total("rings_exhausted")
}

#[test]
fn rings_run_short_when_there_are_few() {
    assert_eq!(shortages("8"), 0);
    assert!(shortages("1") > 0, "two publishers with unparsed input share one ring");
}

#[test]
fn a_mailbox_of_one_still_carries_a_stream() {
    let server = Server::start(&["--loops", "3", "--mailbox", "1"]);
    let mailboxes = |line: &str| {
        let rest = line.split_once("mailboxes ").unwrap().1;
        rest.split(',').next().unwrap().parse::<usize>().unwrap()
    };
    let line = server.line(|line| line.contains(" loops "));
    let more = Server::start(&["--loops", "3", "--mailbox", "10"]);
    let line_of_more = more.line(|line| line.contains(" loops "));
    assert_eq!(mailboxes(&line) * 10, mailboxes(&line_of_more));

    let mut publisher = Client::publish(server.address(), "live/one");
    publisher.video(0, &body::avc_header(1));
    publisher.video(0, &body::key(0, 100));
    let mut players: Vec<Client> =
        (0..6).map(|_| Client::play(server.address(), "live/one")).collect();
    for player in &mut players {
        assert!(body::is_header(&player.message().body));
        assert_eq!(body::number(&player.message().body), 0);
    }
    // One at a time, so that no frame finds the mailbox full.
    for number in 1..50_u32 {
        publisher.video(number * 40, &body::inter(number.into(), 3_000));
        for player in &mut players {
            assert_eq!(body::number(&player.message().body), u64::from(number));
        }
    }
    // Ends go through it as well.
    publisher.end();
    for player in &mut players {
        player.expect_status("NetStream.Play.UnpublishNotify");
    }
}

#[test]
fn a_turn_budget_that_is_used_up_costs_no_ring() {
    let server = Server::start(&["--loops", "1", "--rings", "2", "--turn-bytes", "1K"]);
    let mut publisher = Client::publish(server.address(), "live/rings");
    publisher.video(0, &body::key(1, 3_000_000));
    let mut player = Client::play(server.address(), "live/rings");
    assert_eq!(body::number(&player.message().body), 1);
    assert_eq!(server.total("rings_exhausted"), 0, "whoever reads alone finds a ring");
}

/// Writes and turns while 30 players get 20 frames.
fn writes_and_turns(slice: &str) -> (u64, u64) {
    let server = Server::start(&["--loops", "1", "--flush-slice", slice]);
    let mut publisher = Client::publish(server.address(), "live/slices");
    publisher.video(0, &body::key(0, 100));
    let mut players: Vec<Client> =
        (0..30).map(|_| Client::play(server.address(), "live/slices")).collect();
    for player in &mut players {
        assert_eq!(body::number(&player.message().body), 0);
    }
    let (writes, turns) = (server.total("writes"), server.total("turns"));
    for number in 1..=20_u32 {
        publisher.video(number * 40, &body::inter(number.into(), 100));
        for player in &mut players {
            assert_eq!(body::number(&player.message().body), u64::from(number));
        }
    }
    (server.total("writes") - writes, server.total("turns") - turns)
}

#[test]
fn flush_slice_bounds_the_writes_of_a_turn() {
    let (writes, turns) = writes_and_turns("1");
    assert!(writes >= 600 && turns >= writes, "{writes} writes in {turns} turns of one each");
    let (writes, turns) = writes_and_turns("30");
    assert!(writes >= 600 && turns < writes / 2, "{writes} writes in {turns} turns");
}

/// Wakes and turns of the publishers' loop until a round of frames had more wakes than turns, or
/// for so many rounds.
fn wakes_and_turns(wake: &str, rounds: u32) -> (u64, u64) {
    const STREAMS: usize = 24;
    let server = Server::start(&["--loops", "2", "--wake", wake]);
    // Connections go to the two loops in turn: publishers to the first, players to the second.
    let mut streams: Vec<(Client, Client)> = Vec::new();
    for index in 0..STREAMS {
        let path = format!("live/wake{index}");
        let mut publisher = Client::publish(server.address(), &path);
        publisher.video(0, &body::key(0, 100));
        let mut player = Client::play(server.address(), &path);
        assert_eq!(body::number(&player.message().body), 0);
        streams.push((publisher, player));
    }
    let figures = || {
        let of = server.stats()["loops"][0].clone();
        assert_eq!(of["publishers"], STREAMS);
        (of["wakes"].as_u64().unwrap(), of["turns"].as_u64().unwrap())
    };
    let first = figures();
    let mut last = first;
    for number in 1..=rounds {
        for (publisher, _) in &mut streams {
            publisher.video(number * 40, &body::inter(number.into(), 60_000));
        }
        for (_, player) in &mut streams {
            assert_eq!(body::number(&player.message().body), u64::from(number));
        }
        let now = figures();
        if now.0 - last.0 > now.1 - last.1 {
            return (now.0 - last.0, now.1 - last.1);
        }
        last = now;
    }
    (last.0 - first.0, last.1 - first.1)
}

#[test]
fn wake_decides_how_often_a_sleeping_loop_is_woken() {
    let (wakes, turns) = wakes_and_turns("turn", 30);
    assert!(wakes > 0 && wakes <= turns, "{wakes} wakes in {turns} turns");
    let (wakes, turns) = wakes_and_turns("message", 1_000);
    assert!(wakes > turns, "{wakes} wakes in {turns} turns");
}
