//! Players that read slowly or not at all, with one loop and with three.
mod support;

use std::net::TcpStream;

use millrace::rtmp::session::{ClientRole, MediaKind};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::{Client, Message, Server, Wire, body};

const LOOPS: [&str; 2] = ["1", "3"];

/// Small buffers on both sides, so that a player that does not read is noticed soon.
const NARROW: [&str; 4] = ["--sndbuf", "8K", "--notsent-lowat", "8K"];

fn server(loops: &str, flags: &[&str]) -> Server {
    Server::start(&[&["--loops", loops][..], &NARROW, flags].concat())
}

/// A player whose kernel takes little before it is read.
fn slow_player(server: &Server, name: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let stream: TcpStream = socket.into();
    Client::on(stream, "live", ClientRole::Play { name: name.into() })
}

/// The largest value of a figure over all players.
fn most(stats: &Value, figure: &str) -> u64 {
    let loops = stats["loops"].as_array().unwrap().iter();
    let streams = loops.flat_map(|of| of["streams"].as_array().unwrap());
    let players = streams.flat_map(|stream| stream["players"].as_array().unwrap());
    players.map(|player| player[figure].as_u64().unwrap()).max().unwrap_or(0)
}

/// Calls `send` until some player has lagged for a second.
fn send_until_lag(server: &Server, mut send: impl FnMut()) {
    let mut since = None;
    server.stats_when("a player that lags", |stats| {
        send();
        let at = stats["at_ms"].as_u64().unwrap();
        since = since.or((most(stats, "lag_ms") > 0).then_some(at));
        since.is_some_and(|since| at >= since + 1_000)
    });
}

/// Sends GOPs of 10 frames, each with the header of its number, until some player lags. Returns
/// the number of the next frame.
fn send_gops(server: &Server, publisher: &mut Client) -> u64 {
    let mut number = 10_u64;
    send_until_lag(server, || {
        publisher.video(number as u32, &body::avc_header((number / 10) as u8));
        for frame in number..number + 10 {
            let make = if frame.is_multiple_of(10) { body::key } else { body::inter };
            publisher.video(frame as u32, &make(frame, 10_000));
        }
        number += 10;
    });
    number
}

#[test]
fn a_slow_player_jumps_to_the_newest_keyframe_with_its_headers_and_is_counted() {
    for loops in LOOPS {
        let server = server(loops, &["--max-lag-ms", "300"]);
        let mut publisher = Client::publish(server.address(), "live/slow");
        publisher.audio(0, &body::aac_header());
        publisher.video(0, &body::avc_header(0));
        publisher.video(0, &body::key(1, 1_000));
        let mut slow = slow_player(&server, "slow");
        let mut first = slow.message();
        while body::is_header(&first.body) {
            first = slow.message();
        }
        assert_eq!(body::number(&first.body), 1);
        let end = send_gops(&server, &mut publisher);
        // It reads again: what was in flight, then whole GOPs from a newer keyframe on.
        let (mut last, mut header, mut gaps) = (9, 0, 0);
        while last + 1 < end {
            let Message { kind, body, .. } = slow.message();
            if kind == MediaKind::Audio {
                assert_eq!(body, body::aac_header(), "headers are sent again together");
                continue;
            }
            if body::is_header(&body) {
                header = u64::from(body[8]);
                continue;
            }
            let number = body::number(&body);
            if number != last + 1 {
                assert!(number > last && number.is_multiple_of(10), "from {last} to {number}");
                gaps += 1;
            }
            assert_eq!(header, number / 10, "frame {number} with its own header");
            last = number;
        }
        assert!(gaps >= 1, "it missed something");
        let stats = server.stats();
        assert_eq!(most(&stats, "skips"), stats["total"]["skips"]);
        assert!(most(&stats, "skips") >= gaps && most(&stats, "skipped_frames") > 0);
    }
}

#[test]
fn a_slow_player_of_an_audio_only_stream_goes_on_at_a_newer_frame() {
    for loops in LOOPS {
        let server = server(loops, &["--max-lag-ms", "300"]);
        let mut publisher = Client::publish(server.address(), "live/radio");
        publisher.audio(0, &body::aac_header());
        publisher.audio(0, &body::audio(1, 100));
        server.has_frames("live/radio", 2);
        let mut slow = slow_player(&server, "radio");
        slow.expect(&support::Got::Started);
        let mut sent = 1;
        send_until_lag(&server, || {
            for _ in 0..10 {
                sent += 1;
                publisher.audio(sent as u32, &body::audio(sent, 5_000));
            }
        });
        let mut last = 0;
        let mut missed = false;
        while last < sent {
            let body = slow.message().body;
            if body::is_header(&body) {
                assert_eq!(body, body::aac_header());
                continue;
            }
            let number = body::number(&body);
            assert!(number > last);
            missed |= last > 0 && number > last + 1;
            last = number;
        }
        assert!(missed && most(&server.stats(), "skipped_frames") > 0);
    }
}

#[test]
fn stuck_players_make_nobody_else_skip_and_are_closed_as_blocked() {
    for loops in LOOPS {
        let server = server(loops, &["--max-lag-ms", "300", "--blocked-timeout", "1.5"]);
        let mut publisher = Client::publish(server.address(), "live/stuck");
        publisher.video(0, &body::avc_header(0));
        publisher.video(0, &body::key(1, 1_000));
        let mut good = Client::play(server.address(), "live/stuck");
        good.message();
        let mut stuck: Vec<Client> = (0..20).map(|_| slow_player(&server, "stuck")).collect();
        stuck.iter_mut().for_each(|player| player.expect(&support::Got::Started));
        server.stats_when("all players", |stats| stats["total"]["players"] == 21);
        let mut number = 1;
        assert_eq!(body::number(&good.message().body), number);
        server.stats_when("the end of the stuck", |stats| {
            for _ in 0..5 {
                number += 1;
                let make = if number.is_multiple_of(10) { body::key } else { body::inter };
                publisher.video(number as u32, &make(number, 10_000));
                assert_eq!(body::number(&good.message().body), number, "no gap");
            }
            stats["total"]["closes"]["blocked"] == 20
        });
        let stats = server.stats();
        assert_eq!((most(&stats, "skips"), most(&stats, "skipped_frames")), (0, 0));
        assert_eq!(stats["total"]["players"], 1);
        drop(stuck);
    }
}

#[test]
fn a_player_that_reads_again_after_a_pause_below_the_lag_limit_misses_nothing() {
    for loops in LOOPS {
        let server = server(loops, &["--max-lag-ms", "60000"]);
        let mut publisher = Client::publish(server.address(), "live/pause");
        let mut slow = slow_player(&server, "pause");
        slow.expect(&support::Got::Started);
        for number in 1..=300 {
            let make = if number == 1 { body::key } else { body::inter };
            publisher.video(number as u32, &make(number, 5_000));
        }
        server.has_frames("live/pause", 300);
        for number in 1..=300 {
            assert_eq!(body::number(&slow.message().body), number);
        }
    }
}

#[test]
fn a_player_that_wants_no_more_while_its_socket_is_full_is_not_blocked() {
    // 13 frames are one segment of the kernel, 12 of its bytes options: full is between frames.
    const SEGMENT: u32 = 1_000;
    const FRAME_BYTES: usize = (SEGMENT as usize - 12) / 13;
    let server = server("1", &["--blocked-timeout", "4", "--max-lag-ms", "60000"]);
    let mut publisher = Client::publish(server.address(), "live/deaf");
    publisher.video(0, &body::key(0, 100));
    let player = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.set_tcp_mss(SEGMENT).unwrap();
        socket.connect(&server.address().into()).unwrap();
        let mut wire = Wire::handshake(socket.into());
        wire.connect_app("live");
        let msid = wire.play("deaf");
        wire.media();
        (wire, msid)
    };
    let (mut deaf, msid) = player();
    let (mut sent, mut before) = (1, None);
    while before.replace(server.total("bytes_out")) != before {
        publisher.video(sent as u32, &body::inter(sent, FRAME_BYTES - 12));
        sent += 1;
        server.has_frames("live/deaf", sent);
    }
    let read = server.total("bytes_in");
    deaf.command(msid, "receiveVideo", |w| {
        w.null().boolean(false);
    });
    server.stats_when("the command", |s| s["total"]["bytes_in"].as_u64() > Some(read));
    deaf.until(|packet| packet.is_media() && body::number(&packet.body) == sent - 2);
    // Its socket has room again. Another one is full later, and closed for it.
    let _stuck = player();
    for number in 0..50 {
        publisher.video(1_000 + number as u32, &body::inter(number, 10_000));
    }
    server.closed_for("blocked");
    deaf.create_stream();
}
