//! `--demo`: the clip decodes, its timestamps rise over its end, and it comes back.

mod support;

use std::process::{Command, Stdio};

use millrace::media::clip::Clip;
use millrace::media::tag::{TagClass, classify};
use millrace::rtmp::session::{ClientRole, MediaKind};
use rustix::process::Signal;
use support::{Client, Got, Message, Server};

static CLIP: &[u8] = include_bytes!("../src/net/demo.flv");

fn demo(flags: &[&str]) -> Server {
    Server::start(&[&["--demo"], flags].concat())
}

/// Plays until `seconds` of stream have come; what came, headers left out.
fn play(server: &Server, seconds: u32) -> Vec<Message> {
    let mut player = Client::play(server.address(), "live/demo");
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let message = player.message();
        if message.kind == MediaKind::Data || classify(message.kind, &message.body).is_init() {
            continue;
        }
        messages.push(message);
        let (first, last) = (&messages[0], &messages[messages.len() - 1]);
        if last.timestamp - first.timestamp >= seconds * 1000 {
            return messages;
        }
    }
}

#[test]
fn the_clip_is_small_and_loops_without_a_seam() {
    assert!(CLIP.len() < 300_000, "{} bytes", CLIP.len());
    let clip = Clip::parse(CLIP).unwrap();
    assert_eq!(clip.period_ms(), 5120);
    // Both tracks end where the next round begins: 128 x 40 ms and 240 x 1024 / 48000 s.
    let video = bodies(&clip, MediaKind::Video);
    assert_eq!((video.len(), bodies(&clip, MediaKind::Audio).len()), (128, 240));
    assert_eq!(classify(MediaKind::Video, video[0]).class, TagClass::Keyframe);
}

#[test]
fn demo_publishes_a_clip_that_rises_over_its_end() {
    std::thread::scope(|scope| {
        for loops in ["1", "3"] {
            scope.spawn(move || rises_over_two_ends(loops));
        }
    });
}

fn rises_over_two_ends(loops: &str) {
    let server = demo(&["--loops", loops]);
    // Over two ends of the clip, wherever the join falls.
    let messages = play(&server, 11);
    let clip = Clip::parse(CLIP).unwrap();
    for kind in [MediaKind::Video, MediaKind::Audio] {
        let got: Vec<&Message> = messages.iter().filter(|m| m.kind == kind).collect();
        let bodies: Vec<&[u8]> = bodies(&clip, kind);
        let start = bodies.iter().position(|body| *body == got[0].body).unwrap();
        for (place, message) in got.iter().enumerate() {
            assert_eq!(message.body, bodies[(start + place) % bodies.len()], "frame {place}");
        }
        let interval = if kind == MediaKind::Video { 40..=40 } else { 21..=22 };
        for pair in got.windows(2) {
            let step = pair[1].timestamp - pair[0].timestamp;
            assert!(interval.contains(&step), "{kind:?} steps by {step} ms");
        }
    }
}

fn bodies<'a>(clip: &Clip<'a>, kind: MediaKind) -> Vec<&'a [u8]> {
    let frames = clip.frames().iter().filter(|frame| frame.kind() == Some(kind));
    frames.map(|frame| frame.body).collect()
}

#[test]
fn ffmpeg_decodes_the_demo_over_the_end_of_the_clip() {
    let server = demo(&[]);
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-v", "warning", "-xerror", "-err_detect", "explode"])
        .args(["-rw_timeout", "20000000", "-i", &server.url("live/demo"), "-t", "7"])
        .args(["-f", "framehash", "-hash", "adler32", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let text = String::from_utf8(output.stdout).unwrap();
    let times = |stream: &str| -> Vec<i64> {
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let fields = rows.map(|row| row.split(',').map(str::trim).collect::<Vec<_>>());
        fields.filter(|row| row[0] == stream).map(|row| row[2].parse().unwrap()).collect()
    };
    for (stream, least) in [("0", 7 * 25 - 5), ("1", 7 * 46 - 5)] {
        let times = times(stream);
        assert!(times.len() >= least, "{} frames of stream {stream}", times.len());
        assert!(times.is_sorted_by(|a, b| a < b), "timestamps of stream {stream} rise");
    }
}

#[test]
fn the_demo_comes_back_after_another_publisher() {
    let server = demo(&["--takeover", "always"]);
    let mut player = Client::play(server.address(), "live/demo");
    player.message_of(MediaKind::Video);
    // Takes the name over, ends, and leaves it free.
    let mut other = Client::publish(server.address(), "live/demo");
    server.line(|line| line.contains("the demo publisher was stopped"));
    other.end();
    drop(other);
    let mut late = Client::play(server.address(), "live/demo");
    late.message_of(MediaKind::Video);
}

#[test]
fn a_demo_whose_app_is_not_allowed_is_refused_and_says_so_once() {
    let server = demo(&["--app", "other"]);
    server.line(|line| line.contains("demo publisher was stopped: NetConnection.Connect."));
    // Two tries more.
    server.stats_when("more tries", |stats| stats["total"]["accepted"].as_u64() >= Some(3));
    let told = server.lines().iter().filter(|line| line.contains("demo publisher")).count();
    assert_eq!(told, 1);
    let mut client = Client::with(server.address(), "other", ClientRole::Idle);
    client.expect(&Got::Connected);
}

#[test]
fn a_server_with_a_demo_ends_like_any_other() {
    // The harness waits less than this grace, so it is not what ends the server.
    let mut server = demo(&["--grace", "60"]);
    let mut player = Client::play(server.address(), "live/demo");
    player.message_of(MediaKind::Video);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_demo_is_reached_on_the_unspecified_addresses() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let server = demo(&["--listen", listen]);
        server.line(|line| line.contains("publishes live/demo"));
    }
}
