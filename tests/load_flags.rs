//! Flags of `millrace-load`, each seen by its effect.
mod support;

use std::net::{SocketAddr, TcpListener};
use std::thread;

use millrace::rtmp::session::MediaKind;
use socket2::SockRef;
use support::load::{Running, WHATEVER_ELSE_RUNS, load, millrace_load};
use support::{Client, Server};

const SHORT: [&str; 2] = ["--time", "200ms"];

fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

#[test]
fn app_and_stream_are_what_the_server_sees() {
    let server = Server::start(&["--app", "other"]);
    let flags = ["--app", "other", "--stream", "name", "--players", "2"];
    let run = load(server.address(), &[&SHORT[..], &flags].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    server.line(|line| line.ends_with(" publishes other/name"));
    server.line(|line| line.ends_with(" plays other/name"));
}

#[test]
fn server_is_the_only_address_that_is_talked_to() {
    let (server, other) = (Server::start(&[]), Server::start(&[]));
    let flags = ["--server", &server.address().to_string(), "--players", "2"];
    let output = millrace_load(&[&SHORT[..], &flags, &WHATEVER_ELSE_RUNS].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!((server.total("accepted"), other.total("accepted")), (3, 0));
}

#[test]
fn kbps_is_the_rate_of_video_and_audio_together() {
    for (kbps, bits) in [("1000", 1_000_000), ("8000", 8_000_000)] {
        let server = Server::start(&[]);
        let flags = ["--kbps", kbps, "--gop-ms", "200", "--players", "1", "--time", "1"];
        let run = load(server.address(), &flags);
        assert_eq!((run.code(), run.result["kbps"].to_string()), (Some(0), kbps.to_string()));
        // 30 and 43 frames a second share it.
        let bytes = bits / 8 / 73;
        let seen = server.total("bytes_in") / run.count("frames_sent");
        assert!((bytes * 8 / 10..=bytes * 12 / 10).contains(&seen), "{seen} for {bytes}");
    }
}

#[test]
fn gop_ms_is_the_time_between_keyframes() {
    let server = Server::start(&[]);
    for (gop_ms, frames) in [("200", 6), ("400", 12)] {
        let flags = ["--gop-ms", gop_ms, "--players", "1", "--time", "30", "--stream", gop_ms];
        let _running = Running::start(server.address(), &flags);
        let mut player = Client::play(server.address(), &format!("live/{gop_ms}"));
        let mut is_key = || loop {
            let body = player.message_of(MediaKind::Video).body;
            if body[1] == 1 {
                break body[0] == 0x17;
            }
        };
        assert!(is_key(), "a player begins with a keyframe");
        let distance = 1 + (0..100).position(|_| is_key()).unwrap();
        assert_eq!(distance, frames, "--gop-ms {gop_ms}");
    }
}

#[test]
fn time_is_how_long_it_is_measured() {
    let server = Server::start(&[]);
    let run = load(server.address(), &["--players", "1", "--time", "300ms"]);
    let time_s = run.number("time_s");
    assert!((0.3..10.0).contains(&time_s), "{time_s}");
}

#[test]
fn connect_rate_is_how_fast_connections_are_opened() {
    let server = Server::start(&[]);
    let flags = ["--players", "10", "--connect-rate", "10"];
    let run = load(server.address(), &[&SHORT[..], &flags].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    // The tenth comes after 0.9 s, while 73 frames a second are published.
    assert!(run.count("frames_sent") >= 73 * 9 / 10, "{}", run.text());
}

#[test]
fn sources_are_the_addresses_that_connections_come_from() {
    let server = Server::start(&[]);
    let run = load(server.address(), &[&SHORT[..], &["--idle", "6", "--sources", "3"]].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        server.line(|line| line.contains(&format!(" from {address} ")));
    }
    let elsewhere = load("[::1]:1".parse().unwrap(), &["--sources", "3"]);
    assert_eq!(elsewhere.code(), Some(2));
    assert!(elsewhere.text().contains("1 where the server is not on 127.0.0.0/8"));
}

#[test]
fn mss_is_the_largest_segment_of_the_connections() {
    for (flags, range) in [(&["--mss", "1000"][..], 500..=1_000), (&[], 10_000..=65_535)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            SockRef::from(&stream).tcp_mss().unwrap()
        });
        assert_eq!(load(address, flags).code(), Some(1));
        let mss = server.join().unwrap();
        assert!(range.contains(&mss), "{flags:?}: {mss}");
    }
}

#[test]
fn verify_every_decides_how_many_players_check_every_byte() {
    let server = Server::start(&[]);
    for (every, verified) in [("4", 2), ("1", 8), ("0", 0)] {
        let flags = ["--players", "8", "--verify-every", every];
        let run = load(server.address(), &[&SHORT[..], &flags].concat());
        assert_eq!((run.code(), run.count("verified")), (Some(0), verified), "{}", run.text());
        assert_eq!(run.count("verified_messages") > 0, verified > 0, "--verify-every {every}");
    }
}

#[test]
fn a_file_that_is_no_flv_is_told() {
    for (file, wanted) in [("/dev/null", "not an FLV file"), ("/nowhere", "cannot read /nowhere")] {
        let run = load(nobody(), &["--flv", file]);
        assert!(run.code() == Some(1) && run.text().contains(wanted), "{}", run.text());
    }
}

#[test]
fn help_of_every_mode_lists_its_flags() {
    for (mode, flag) in [("load", "--churn N"), ("floor", "--policy "), ("plot", "--csv FILE")] {
        let output = millrace_load(&[mode, "--help"]);
        assert!(output.status.success(), "{mode}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(flag) && text.contains("Usage: millrace-load"), "{mode}: {text}");
    }
    assert_eq!(load(nobody(), &["nothing"]).code(), Some(2));
}

#[test]
fn values_that_are_not_allowed_are_told_with_those_that_are() {
    let table: [(&[&str], &str); 13] = [
        (&["--server", "localhost"], "an address and a port"),
        (&["--server-pid", "0"], "a number from 1 to"),
        (&["--publishers", "many"], "a number from 0 to"),
        (&["--verify-every", "-1"], "a number from 0 to"),
        (&["--drain-ms", "1001"], "a number from 0 to 1000"),
        (&["--slow-kbps", "0"], "a number from 1 to"),
        (&["--time", "25h"], "seconds, or a number with ms, s or m"),
        (&["--kbps", "99"], "a number from 100 to"),
        (&["--gop-ms", "99"], "a number from 100 to 60000"),
        (&["--sources", "201"], "a number from 1 to 200"),
        (&["--mss", "100"], "0 or a number from 536 to 32767"),
        (&["--connect-rate", "0"], "a number from 1 to"),
        (&["--expect-p99-ms", "soon"], "a number from 0 to"),
    ];
    for (flags, allowed) in table {
        let output = millrace_load(flags);
        let text = String::from_utf8(output.stderr).unwrap();
        let ended = (output.status.code(), text.lines().count());
        assert_eq!(ended, (Some(2), 1), "{flags:?}: {text}");
        assert!(text.contains(&format!("is not allowed: give {allowed}")), "{flags:?}: {text}");
    }
}
