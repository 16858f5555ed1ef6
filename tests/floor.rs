//! `millrace-load floor`: it writes as the server does, and serves what it must.

mod support;

use std::process::Command;
use std::time::Duration;

use millrace::rtmp::session::MediaKind;
use rustix::process::Signal;
use serde_json::Value;
use socket2::SockRef;
use support::load::WHATEVER_ELSE_RUNS;
use support::{Client, Got, Message, Server, body};

const PLAYERS: usize = 20;
const PATH: &str = "live/floor";

/// One figure of the floor's counters, or of the totals of the server.
fn figure(stats: &Value, name: &str) -> u64 {
    let total = stats.get("total").unwrap_or(stats);
    total[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}

/// A publisher whose headers are there.
fn publisher(server: &Server) -> Client {
    let mut publisher = Client::publish(server.address(), PATH);
    publisher.send(MediaKind::Data, 0, &body::metadata());
    publisher.video(0, &body::avc_header(1));
    publisher.audio(0, &body::aac_header());
    publisher
}

/// The next frame that is no header and no data.
fn next_frame(player: &mut Client) -> Message {
    loop {
        let message = player.message();
        if message.kind != MediaKind::Data && !body::is_header(&message.body) {
            return message;
        }
    }
}

/// Number of the next frame, which must be whole.
fn next_number(player: &mut Client) -> u64 {
    body::number(&next_frame(player).body)
}

/// 60 video frames of 30 a second and the audio frames of 43 a second between them, by kind.
fn series() -> Vec<MediaKind> {
    let mut frames: Vec<(u64, MediaKind)> = (0..60)
        .map(|number| (number * 1000 / 30, MediaKind::Video))
        .chain((0..86).map(|number| (number * 1000 / 43, MediaKind::Audio)))
        .collect();
    frames.sort_by_key(|&(at, kind)| (at, kind == MediaKind::Video));
    frames.into_iter().map(|(_, kind)| kind).collect()
}

/// Sends the series in groups of frames that the policy brings to the players together, each in one
/// write, and the next when everybody has got the one before, so that time plays no part. Returns
/// writes and bytes per player.
fn delivery(server: &Server, groups: &[&[MediaKind]]) -> (f64, f64) {
    let mut publisher = publisher(server);
    let mut players: Vec<Client> =
        (0..PLAYERS).map(|_| Client::play(server.address(), PATH)).collect();
    publisher.video(0, &body::key(0, 2_000));
    assert!(players.iter_mut().all(|player| next_number(player) == 0));
    let before = server.stats();
    let mut number = 0;
    for group in groups {
        let first = number + 1;
        let mut bytes = Vec::new();
        for &kind in *group {
            number += 1;
            let timestamp = u32::try_from(number * 14).unwrap();
            let body = match kind {
                MediaKind::Audio => body::audio(number, 300),
                _ => body::inter(number, 3_000),
            };
            bytes.extend(publisher.encode(kind, timestamp, &body));
        }
        assert!(publisher.raw(&bytes));
        for player in &mut players {
            assert!((first..=number).all(|number| next_number(player) == number));
        }
    }
    let after = server.stats();
    #[allow(clippy::cast_precision_loss, reason = "small figures")]
    let per_player =
        |name: &str| (figure(&after, name) - figure(&before, name)) as f64 / PLAYERS as f64;
    (per_player("writes"), per_player("bytes_out"))
}

/// Within 5 %.
fn are_equal(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.05 * one.max(other)
}

#[test]
fn floor_and_server_write_the_same_for_the_same_policy() {
    let frames = series();
    let each: Vec<&[MediaKind]> = frames.chunks(1).collect();
    let ride: Vec<&[MediaKind]> =
        frames.split_inclusive(|kind| *kind == MediaKind::Video).collect();
    let merge: Vec<&[MediaKind]> = frames[..60].chunks(3).collect();
    let cases: [(&[&str], &[&str], &[&[MediaKind]]); 4] = [
        (&["--flush-ms", "0"], &["--policy", "each"], &each),
        (&["--flush-ms", "1000"], &["--flush-ms", "1000"], &ride),
        (&["--merge-ms", "100"], &["--policy", "merge", "--merge-ms", "100"], &merge),
        (&["--nodelay", "off", "--flush-ms", "0"], &["--policy", "nagle"], &each),
    ];
    for (server_flags, floor_flags, groups) in cases {
        let server = Server::start(&[&["--loops", "1"], server_flags].concat());
        let floor = Server::floor(floor_flags);
        let (writes, bytes) = delivery(&server, groups);
        let (floor_writes, floor_bytes) = delivery(&floor, groups);
        let what = format!(
            "{server_flags:?}: {writes} writes of {} bytes, floor {floor_writes} of {}, for {}",
            bytes / writes,
            floor_bytes / floor_writes,
            groups.len(),
        );
        assert!(are_equal(writes, floor_writes), "{what}");
        assert!(are_equal(bytes / writes, floor_bytes / floor_writes), "{what}");
        #[allow(clippy::cast_precision_loss, reason = "small figures")]
        let wanted = groups.len() as f64;
        assert!(are_equal(floor_writes, wanted), "{what}");
    }
}

#[test]
fn the_floor_keeps_audio_for_video_but_not_for_ever() {
    let floor = Server::floor(&["--flush-ms", "2000"]);
    let mut publisher = publisher(&floor);
    let mut player = Client::play(floor.address(), PATH);
    publisher.video(0, &body::key(0, 500));
    assert_eq!(next_number(&mut player), 0);
    publisher.audio(20, &body::audio(1, 100));
    assert_eq!(player.next_within(Duration::from_millis(50)), None, "it waits for video");
    assert_eq!(next_number(&mut player), 1);
}

#[test]
fn a_player_of_the_floor_begins_with_headers_and_the_next_keyframe() {
    let floor = Server::floor(&["--policy", "each"]);
    let mut publisher = publisher(&floor);
    publisher.video(0, &body::key(0, 500));
    floor.stats_when("headers and keyframe", |stats| stats["frames"] == 4);
    let mut player = Client::play(floor.address(), PATH);
    publisher.video(33, &body::inter(1, 500));
    publisher.video(66, &body::key(2, 500));
    let got: Vec<Message> = (0..4).map(|_| player.message()).collect();
    let kinds: Vec<MediaKind> = got.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, [MediaKind::Data, MediaKind::Video, MediaKind::Audio, MediaKind::Video]);
    assert_eq!(got[1].body, body::avc_header(1));
    assert_eq!(got[2].body, body::aac_header());
    assert_eq!(body::number(&got[3].body), 2);
}

#[test]
fn players_of_the_floor_stay_for_a_publisher_that_comes_again() {
    /// More than the floor reads at once, and than a buffer of its ring has at the start.
    const LONG: usize = 600 * 1024;
    let floor = Server::floor(&["--policy", "each"]);
    let mut first = publisher(&floor);
    let mut player = Client::play(floor.address(), PATH);
    first.video(0, &body::key(0, 500));
    assert_eq!(next_number(&mut player), 0);
    let unfinished = first.encode(MediaKind::Video, 33, &body::inter(1, LONG));
    assert!(first.raw(&unfinished[..LONG / 2]));
    drop(first);
    let mut second = Client::publish(floor.address(), PATH);
    second.video(0, &body::avc_header(2));
    second.video(0, &body::key(2, LONG));
    assert_eq!(player.message().body, body::avc_header(2));
    assert_eq!(next_number(&mut player), 2);
    let mut late = Client::play(floor.address(), PATH);
    second.video(33, &body::key(3, LONG));
    assert_eq!(late.message().body, body::avc_header(2), "nothing of the first publisher");
    for player in [&mut player, &mut late] {
        assert_eq!(next_number(player), 3);
    }
}

#[test]
fn a_player_that_the_floors_ring_overtakes_goes_on_at_a_keyframe() {
    /// More frames than the ring has, and more bytes than sockets take.
    const COUNT: u64 = 2_000;
    let floor = Server::floor(&["--policy", "each"]);
    let mut publisher = publisher(&floor);
    let mut late = Client::play(floor.address(), PATH);
    // Nothing but reading opens its window.
    SockRef::from(&late.stream).set_recv_buffer_size(64 * 1024).unwrap();
    let mut reader = Client::play(floor.address(), PATH);
    let mut publish = |number: u64| {
        let make = if number == 0 || number > COUNT { body::key } else { body::inter };
        publisher.video(u32::try_from(number * 33).unwrap(), &make(number, 2_000));
        assert_eq!(next_number(&mut reader), number);
    };
    (0..=COUNT).for_each(&mut publish);
    let mut numbers = Vec::new();
    for number in COUNT + 1..COUNT + 100 {
        while let Some(got) = late.next_within(Duration::from_millis(100)) {
            let Got::Message(message) = got else { panic!("{got:?}") };
            if message.kind == MediaKind::Video && !body::is_header(&message.body) {
                numbers.push(body::number(&message.body));
            }
        }
        if numbers.last() > Some(&COUNT) {
            break;
        }
        publish(number);
    }
    let jumps: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!((numbers[0], jumps.len()), (0, 1), "{jumps:?}");
    assert!(jumps[0][0] < COUNT && jumps[0][1] > COUNT, "{jumps:?}");
    assert_eq!(figure(&floor.stats(), "skips"), 1);
}

#[test]
fn the_load_is_served_by_the_floor_under_every_policy() {
    for policy in ["each", "ride", "merge", "nagle"] {
        let floor = Server::floor(&["--policy", policy]);
        let address = floor.address().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_millrace-load"))
            .args(["--server", &address, "--players", "20", "--stuck", "2", "--time", "1"])
            .args(["--gop-ms", "500", "--verify-every", "2", "--expect-no-gap"])
            .args(WHATEVER_ELSE_RUNS)
            .output()
            .unwrap();
        assert!(output.status.success(), "{policy}: {output:?}");
        let stats = floor.stats();
        assert_eq!(stats["policy"], policy);
        assert!(figure(&stats, "writes") > 20 * 10 && figure(&stats, "frames") > 70, "{stats}");
    }
}

#[test]
fn the_floor_ends_by_time_or_signal_with_its_counters() {
    for is_timed in [true, false] {
        let mut floor = Server::floor(if is_timed { &["--time", "300ms"] } else { &[] });
        if !is_timed {
            floor.signal(Signal::TERM);
        }
        assert!(floor.wait().success());
        let line = floor.line(|line| line.starts_with('{'));
        let stats: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((figure(&stats, "writes"), figure(&stats, "players")), (0, 0));
    }
}

#[test]
fn bad_flags_of_the_floor_are_refused_in_one_sentence() {
    for flags in [&["--policy", "best"][..], &["--listen", "here"], &["stray"], &["--nothing"]] {
        let mut floor = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
        let output = floor.arg("floor").args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{flags:?}");
    }
}
