//! What a player gets first, over real sockets, with one loop and with three.
mod support;

use std::time::{Duration, Instant};

use millrace::rtmp::message::type_id;
use millrace::rtmp::session::MediaKind;
use support::{Arrival, Client, Server, Wire, body};

const LOOPS: [&str; 2] = ["1", "3"];

/// A publisher that has sent metadata, headers at 0, and a GOP at 1000 ms: frames 1-3.
fn publisher(server: &Server, path: &str) -> Client {
    let mut publisher = Client::publish(server.address(), path);
    publisher.send(MediaKind::Data, 700, &body::metadata());
    publisher.audio(0, &body::aac_header());
    publisher.video(0, &body::avc_header(1));
    publisher.video(1000, &body::key(1, 5_000));
    publisher.audio(1005, &body::audio(2, 300));
    publisher.video(1040, &body::inter(3, 1_000));
    server.has_frames(path, 5);
    publisher
}

#[test]
fn a_joiner_gets_metadata_at_0_then_headers_stamped_with_the_keyframe() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "live/join");
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/join");
            let metadata = player.message();
            assert_eq!((metadata.kind, metadata.timestamp), (MediaKind::Data, 0));
            assert!(metadata.body.starts_with(b"\x02\x00\x0aonMetaData\x08"));
            let (audio, video) = (player.message(), player.message());
            assert_eq!((audio.body, audio.timestamp), (body::aac_header(), 1000));
            assert_eq!((video.body, video.timestamp), (body::avc_header(1), 1000));
            for (number, timestamp) in [(1, 1000), (2, 1005), (3, 1040)] {
                let message = player.message();
                assert_eq!((body::number(&message.body), message.timestamp), (number, timestamp));
            }
        }
        publisher.video(1080, &body::inter(4, 100));
        let mut late = Client::play(server.address(), "live/join");
        let numbers: Vec<u64> = (0..7)
            .map(|_| late.message().body)
            .filter(|body| body[0] != 2 && !body::is_header(body))
            .map(|body| body::number(&body))
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
}

#[test]
fn the_keyframe_cache_gives_the_keyframe_then_audio_then_video_from_the_next_keyframe() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--gop-cache", "keyframe"]);
        let mut publisher = publisher(&server, "live/key");
        let mut player = Client::play(server.address(), "live/key");
        let first: Vec<Vec<u8>> = (0..4).map(|_| player.message().body).collect();
        assert_eq!(first[1..3], [body::aac_header(), body::avc_header(1)]);
        assert_eq!(body::number(&first[3]), 1);
        publisher.video(1080, &body::inter(4, 100));
        publisher.audio(1085, &body::audio(5, 100));
        publisher.video(1120, &body::key(6, 100));
        publisher.video(1160, &body::inter(7, 100));
        for number in [5, 6, 7] {
            assert_eq!(body::number(&player.message().body), number);
        }
    }
}

#[test]
fn without_a_cache_media_starts_with_the_next_keyframe() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--gop-cache", "off"]);
        let mut publisher = publisher(&server, "live/off");
        let mut player = Client::play(server.address(), "live/off");
        publisher.audio(1045, &body::audio(4, 100));
        publisher.video(1080, &body::inter(5, 100));
        publisher.video(1120, &body::key(6, 100));
        publisher.audio(1125, &body::audio(7, 100));
        assert_eq!(player.message().kind, MediaKind::Data);
        for header in [body::aac_header(), body::avc_header(1)] {
            let message = player.message();
            assert_eq!((message.body, message.timestamp), (header, 1120));
        }
        assert_eq!(body::number(&player.message().body), 6);
        assert_eq!(body::number(&player.message().body), 7);
    }
}

#[test]
fn a_player_before_the_publisher_waits_and_is_told() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut early = Wire::connect(server.address());
        let msid = early.play("early");
        let mut publisher = Client::publish(server.address(), "live/early");
        early.event(0, msid);
        early.status(msid, "NetStream.Play.PublishNotify");
        publisher.video(0, &body::avc_header(1));
        publisher.video(0, &body::key(1, 100));
        assert_eq!(early.media().body, body::avc_header(1));
        assert_eq!(body::number(&early.media().body), 1);
    }
}

#[test]
fn a_player_that_waited_long_enough_is_refused_and_closed() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--wait", "0.3"]);
        let began = Instant::now();
        let mut player = Client::play(server.address(), "live/nobody");
        player.expect_status("NetStream.Play.StreamNotFound");
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert_eq!(player.expect_end(), support::Got::Closed);
        server.closed_for("refused");
    }
}

#[test]
fn with_no_publisher_fail_a_player_is_refused_at_once() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--no-publisher", "fail"]);
        let mut player = Client::begin_play(server.address(), "live/nobody");
        player.expect_status("NetStream.Play.StreamNotFound");
        assert_eq!(player.expect_end(), support::Got::Closed);
    }
}

#[test]
fn an_audio_only_stream_starts_at_once() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/audio");
        publisher.audio(0, &body::aac_header());
        publisher.audio(20, &body::audio(1, 100));
        server.has_frames("live/audio", 2);
        let mut player = Client::play(server.address(), "live/audio");
        publisher.audio(40, &body::audio(2, 100));
        publisher.audio(60, &body::audio(3, 100));
        let header = player.message();
        assert_eq!((header.body, header.timestamp), (body::aac_header(), 40));
        assert_eq!(body::number(&player.message().body), 2);
        assert_eq!(body::number(&player.message().body), 3);
    }
}

#[test]
fn a_video_only_stream_starts_at_its_keyframe() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/video");
        publisher.video(0, &body::avc_header(1));
        publisher.video(0, &body::inter(1, 100));
        publisher.video(40, &body::key(2, 100));
        server.has_frames("live/video", 3);
        let mut player = Client::play(server.address(), "live/video");
        assert_eq!(player.message().body, body::avc_header(1));
        assert_eq!(body::number(&player.message().body), 2);
        publisher.video(80, &body::inter(3, 100));
        assert_eq!(body::number(&player.message().body), 3);
    }
}

#[test]
fn a_late_joiner_gets_every_tracks_sequence_start() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/tracks");
        // Enhanced RTMP multitrack, one track per message: packet type 6, OneTrack, inner type.
        let track = |inner: u8, id: u8, fill: u8| {
            let mut body = vec![0x96, inner];
            body.extend_from_slice(b"hvc1");
            body.extend_from_slice(&[id, fill, fill, fill, fill]);
            body
        };
        let starts = [track(0, 0, 1), track(0, 1, 2), track(0, 2, 3)];
        for start in &starts {
            publisher.video(0, start);
        }
        let key = track(3, 0, 9);
        publisher.video(40, &key);
        server.has_frames("live/tracks", 4);
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/tracks");
            for start in &starts {
                assert_eq!(&player.message().body, start);
            }
            assert_eq!(player.message().body, key);
        }
    }
}

#[test]
fn changed_metadata_and_headers_reach_players_in_order_and_late_joiners_first() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "live/change");
        let mut player = Client::play(server.address(), "live/change");
        let mut bodies: Vec<Vec<u8>> = (0..6).map(|_| player.message().body).collect();
        let mut changed = body::metadata();
        let at = changed.len() - 11;
        changed[at] = 0x41;
        publisher.send(MediaKind::Data, 1050, &changed);
        publisher.video(1080, &body::avc_header(2));
        publisher.video(1080, &body::key(4, 100));
        bodies.extend((0..3).map(|_| player.message().body));
        assert!(bodies[6].starts_with(b"\x02\x00\x0aonMetaData\x08") && bodies[6] != bodies[0]);
        assert_eq!(bodies[7], body::avc_header(2));
        assert_eq!(body::number(&bodies[8]), 4);
        let mut late = Client::play(server.address(), "live/change");
        assert_eq!(late.message().body, bodies[6]);
        assert_eq!(late.message().body, body::aac_header());
        assert_eq!(late.message().body, body::avc_header(2));
        assert_eq!(body::number(&late.message().body), 4);
    }
}

#[test]
fn data_messages_keep_their_place_and_cleared_data_frames_are_gone() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "live/data");
        let mut player = Client::play(server.address(), "live/data");
        let text = |name: &str| {
            let mut out = Vec::new();
            millrace::rtmp::amf0::Writer::new(&mut out).string(name.as_bytes()).number(1.0);
            out
        };
        publisher.send(MediaKind::Data, 1050, &text("onTextData"));
        publisher.video(1080, &body::inter(4, 100));
        publisher.send(MediaKind::Data, 1090, &text("onCuePoint"));
        let mut clear = Vec::new();
        millrace::rtmp::amf0::Writer::new(&mut clear)
            .string(b"@clearDataFrame")
            .string(b"onMetaData");
        publisher.send(MediaKind::Data, 1095, &clear);
        publisher.video(1120, &body::inter(5, 100));
        let rest: Vec<_> = (0..10).map(|_| player.message()).skip(6).collect();
        assert_eq!((&rest[0].body, rest[0].timestamp), (&text("onTextData"), 1050));
        assert_eq!(body::number(&rest[1].body), 4);
        assert_eq!((&rest[2].body, rest[2].timestamp), (&text("onCuePoint"), 1090));
        assert_eq!(body::number(&rest[3].body), 5);
        let mut late = Client::play(server.address(), "live/data");
        assert_eq!(late.message().body, body::aac_header());
    }
}

#[test]
fn an_empty_app_and_any_spelling_of_a_command_are_accepted() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let stream = std::net::TcpStream::connect(server.address()).unwrap();
        let mut wire = Wire::handshake(stream);
        assert_eq!(wire.connect_app(""), "NetConnection.Connect.Success");
        wire.command(0, "CreateStream", |w| {
            w.null();
        });
        wire.until(|packet| packet.name() == "_result");
        wire.call(1, "publish", "name");
        wire.status(1, "NetStream.Publish.Start");
        wire.video(1, 0, &body::key(1, 50));
        let mut player = Wire::handshake(std::net::TcpStream::connect(server.address()).unwrap());
        player.connect_app("");
        player.play("name");
        let media = player.media();
        assert_eq!((media.message_type, body::number(&media.body)), (type_id::VIDEO, 1));
        drop(wire);
        assert!(!matches!(player.arrival_within(std::time::Duration::ZERO), Some(Arrival::Reset)));
    }
}
