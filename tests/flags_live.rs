//! Flags of live streams, as publishers and players see them.
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use millrace::rtmp::amf0::Writer;
use millrace::rtmp::session::{ClientRole, MediaKind};
use support::{Client, Got, LOOPS, PATIENCE, Server, body};

const LOST: &str = "NetStream.Play.UnpublishNotify";
const BAD_NAME: &str = "NetStream.Publish.BadName";

#[test]
fn chunk_size_is_announced() {
    let server = Server::start(&["--chunk-size", "5000"]);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&[3][..], &[0; 1536]].concat()).unwrap();
    let mut answer = [0; 1 + 2 * 1536];
    stream.read_exact(&mut answer).unwrap();
    let mut command = Vec::new();
    let mut writer = Writer::new(&mut command);
    writer.string(b"connect").number(1.0).object().text("app", b"live").end();
    let length = u8::try_from(command.len()).unwrap();
    stream.write_all(&answer[1..1537]).unwrap();
    stream.write_all(&[3, 0, 0, 0, 0, 0, length, 20, 0, 0, 0, 0]).unwrap();
    stream.write_all(&command).unwrap();
    // Set Chunk Size: csid 2, type 0, four bytes of type 1 on message stream 0.
    let announced = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0x13, 0x88];
    let mut got = Vec::new();
    while !got.windows(announced.len()).any(|window| window == announced) {
        let mut more = [0; 512];
        let read = stream.read(&mut more).unwrap();
        assert_ne!(read, 0, "no Set Chunk Size 5000 in {got:02x?}");
        got.extend_from_slice(&more[..read]);
    }
}

/// A stream of header, key 1, inter 2 that all its loops have.
fn gop(server: &Server, path: &str) -> Client {
    let mut publisher = Client::publish(server.address(), path);
    publisher.video(0, &body::avc_header(1));
    publisher.video(0, &body::key(1, 40_000));
    publisher.video(40, &body::inter(2, 40_000));
    server.stats_when("three frames", |s| s.to_string().contains("\"frames_in\":3"));
    publisher
}

/// The numbers of the first frames that a joiner gets; 3 (inter) and 4 (key) come after it.
fn joined(server: &Server, publisher: &mut Client, path: &str, count: usize) -> Vec<u64> {
    let mut player = Client::play(server.address(), path);
    publisher.video(80, &body::inter(3, 1_000));
    publisher.video(120, &body::key(4, 1_000));
    assert!(body::is_header(&player.message().body), "the sequence header comes first");
    (0..count).map(|_| body::number(&player.message().body)).collect()
}

#[test]
fn gop_cache_decides_what_a_joiner_gets() {
    for loops in LOOPS {
        let rows: [(&str, &[u64]); 3] =
            [("gop", &[1, 2, 3, 4]), ("keyframe", &[1, 4]), ("off", &[4])];
        for (mode, wanted) in rows {
            let server = Server::start(&["--loops", loops, "--gop-cache", mode]);
            let mut publisher = gop(&server, "live/gop");
            let got = joined(&server, &mut publisher, "live/gop", wanted.len());
            assert_eq!(got, wanted, "--gop-cache {mode}");
        }
    }
}

#[test]
fn a_gop_over_its_cap_is_not_cached() {
    for loops in LOOPS {
        let flags = ["--loops", loops, "--gop-bytes", "64K"];
        let server = Server::start(&flags);
        let mut publisher = gop(&server, "live/long");
        assert_eq!(joined(&server, &mut publisher, "live/long", 1), [4], "--gop-bytes");

        let server = Server::start(&["--loops", loops, "--gop-ms", "100"]);
        let mut publisher = Client::publish(server.address(), "live/old");
        publisher.video(0, &body::avc_header(1));
        publisher.video(0, &body::key(1, 1_000));
        let began =
            server.stats_when("the keyframe", |s| s.to_string().contains("\"frames_in\":2"));
        let began = began["at_ms"].as_u64().unwrap();
        server.stats_when("150 ms", |stats| stats["at_ms"].as_u64().unwrap() > began + 150);
        publisher.video(40, &body::inter(2, 1_000));
        server.stats_when("three frames", |s| s.to_string().contains("\"frames_in\":3"));
        assert_eq!(joined(&server, &mut publisher, "live/old", 1), [4], "--gop-ms");
    }
}

/// What a player that stops reading for a while gets of 100 frames in two GOPs, up to the first
/// frame behind a gap.
fn read_late(max_lag_ms: &str) -> (Vec<u64>, u64) {
    let flags = ["--loops", "1", "--notsent-lowat", "16K", "--max-lag-ms"];
    let server = Server::start(&[&flags[..], &[max_lag_ms]].concat());
    let mut publisher = Client::publish(server.address(), "live/late");
    publisher.video(0, &body::key(0, 50_000));
    let mut player = Client::play(server.address(), "live/late");
    for number in 1..100_u32 {
        let make = if number % 50 == 0 { body::key } else { body::inter };
        publisher.video(number * 40, &make(number.into(), 50_000));
    }
    let sent = server.stats_when("100 frames", |s| s.to_string().contains("\"frames_in\":100"));
    let sent = sent["at_ms"].as_u64().unwrap();
    server.stats_when("300 ms", |stats| stats["at_ms"].as_u64().unwrap() > sent + 300);
    let mut numbers = Vec::new();
    while numbers.last().is_none_or(|&last| last < 99 && last + 1 == numbers.len() as u64) {
        numbers.push(body::number(&player.message_of(MediaKind::Video).body));
    }
    (numbers, server.total("skips"))
}

#[test]
fn max_lag_moves_a_slow_player_forward() {
    let (numbers, skips) = read_late("60000");
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert_eq!(skips, 0);

    let (numbers, skips) = read_late("100");
    assert!(skips > 0);
    assert_eq!(numbers.last(), Some(&50), "it goes on at the newest keyframe: {numbers:?}");
}

/// Writes that `send` causes on a server with a playing client.
fn writes(flags: &[&str], send: impl FnOnce(&Server, &mut Client, &mut Client)) -> u64 {
    let server = Server::start(flags);
    let mut publisher = Client::publish(server.address(), "live/writes");
    publisher.video(0, &body::key(0, 500));
    let mut player = Client::play(server.address(), "live/writes");
    player.message();
    let before = server.total("writes");
    send(&server, &mut publisher, &mut player);
    server.total("writes") - before
}

#[test]
fn flush_ms_and_merge_ms_decide_how_many_writes_there_are() {
    // Once the statistics show a frame, the turn that took it is over.
    let one_by_one = |server: &Server, publisher: &mut Client, player: &mut Client| {
        let before = server.total("writes");
        for number in 1..=20_u32 {
            publisher.audio(number * 20, &body::audio(number.into(), 100));
            server.has_frames("live/writes", u64::from(number) + 1);
            assert_eq!(server.total("writes") - before, u64::from(number), "it is out at once");
            assert_eq!(body::number(&player.message().body), u64::from(number));
        }
    };
    // Whatever comes first waits; the last one brings all others with it.
    let together = |first: MediaKind, publisher: &mut Client, player: &mut Client| {
        let make = if first == MediaKind::Audio { body::audio } else { body::inter };
        for number in 1..=20_u32 {
            publisher.send(first, number * 20, &make(number.into(), 100));
        }
        assert_eq!(player.next_within(Duration::from_millis(200)), None, "it is held back");
        publisher.video(400, &body::inter(21, 100));
        for number in 1..=21 {
            assert_eq!(body::number(&player.message().body), number);
        }
    };
    let alone = writes(&["--loops", "1", "--flush-ms", "0"], one_by_one);
    assert_eq!(alone, 20, "each in a write of its own");
    let audio = |_: &Server, publisher: &mut Client, player: &mut Client| {
        together(MediaKind::Audio, publisher, player);
    };
    let video = |_: &Server, publisher: &mut Client, player: &mut Client| {
        together(MediaKind::Video, publisher, player);
    };
    for loops in LOOPS {
        let collected = writes(&["--loops", loops, "--flush-ms", "10000"], audio);
        assert!(collected <= 3, "audio rides with video: {collected} writes");
        let merged = writes(&["--loops", loops, "--merge-ms", "2000"], video);
        assert!(merged <= 3, "everything waits for the others: {merged} writes");
    }
}

/// A publisher that vanishes without a word, and its player.
fn lost(server: &Server, path: &str) -> Client {
    let mut publisher = Client::publish(server.address(), path);
    publisher.video(0, &body::key(1, 500));
    let mut player = Client::play(server.address(), path);
    assert_eq!(body::number(&player.message().body), 1);
    player
}

fn returns(server: &Server, path: &str, player: &mut Client) {
    let mut publisher = Client::publish(server.address(), path);
    publisher.video(0, &body::key(2, 500));
    loop {
        match player.next() {
            Got::Message(message) => return assert_eq!(body::number(&message.body), 2),
            Got::Status(code) => assert_ne!(code, LOST, "the player was kept"),
            got => assert_ne!(got, Got::StreamEof, "the player was kept"),
        }
    }
}

#[test]
fn hold_keeps_players_for_so_long() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops, "--hold", "60"]);
        let mut player = lost(&server, "live/held");
        server.stats_when("the loss", |stats| stats["total"]["publishers"] == 0);
        returns(&server, "live/held", &mut player);

        let server = Server::start(&["--loops", loops, "--hold", "300ms"]);
        let began = Instant::now();
        let mut player = lost(&server, "live/held");
        player.expect(&Got::StreamEof);
        player.expect_status(LOST);
        let held = began.elapsed();
        assert!(held >= Duration::from_millis(300), "not before the hold is over: {held:?}");
        assert!(held < Duration::from_secs(9), "not as long as by default: {held:?}");
    }
}

#[test]
fn hold_always_keeps_players_after_an_unpublish() {
    for loops in LOOPS {
        for flags in [&["--hold", "60", "--hold-always"][..], &["--hold", "60"]] {
            let server = Server::start(&[&["--loops", loops], flags].concat());
            let mut publisher = Client::publish(server.address(), "live/always");
            publisher.video(0, &body::key(1, 500));
            let mut player = Client::play(server.address(), "live/always");
            assert_eq!(body::number(&player.message().body), 1);
            publisher.end();
            server.stats_when("the end", |stats| stats["total"]["publishers"] == 0);
            if flags.contains(&"--hold-always") {
                returns(&server, "live/always", &mut player);
            } else {
                player.expect_status(LOST);
            }
        }
    }
}

#[test]
fn takeover_decides_who_gets_a_name() {
    for loops in LOOPS {
        let never = Server::start(&["--loops", loops, "--takeover", "never"]);
        let _first = Client::publish(never.address(), "live/name");
        Client::begin_publish(never.address(), "live/name").expect_status(BAD_NAME);

        let always = Server::start(&["--loops", loops, "--takeover", "always"]);
        let mut before = Client::publish(always.address(), "live/name");
        for _ in 0..3 {
            let next = Client::publish(always.address(), "live/name");
            before.expect_status("NetStream.Unpublish.Success");
            before.expect_end();
            before = next;
        }

        // From the same address at once, but not to and fro.
        let idle = Server::start(&["--loops", loops, "--takeover", "idle"]);
        let mut first = Client::publish(idle.address(), "live/name");
        let mut second = Client::publish(idle.address(), "live/name");
        first.expect_end();
        second.video(0, &body::key(1, 500));
        Client::begin_publish(idle.address(), "live/name").expect_status(BAD_NAME);
    }
}

#[test]
fn an_unknown_app_is_refused() {
    let server = Server::start(&["--app", "live", "--app", "/show/"]);
    for app in ["live", "show", "live/?token=1"] {
        Client::with(server.address(), app, ClientRole::Idle).expect(&Got::Connected);
    }
    for app in ["other", "liv", ""] {
        let mut client = Client::with(server.address(), app, ClientRole::Idle);
        client.expect_status("NetConnection.Connect.InvalidApp");
        client.expect_end();
    }
}
