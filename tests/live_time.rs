//! Timestamps, chunk sizes and control messages on the wire, with one loop and with three.
mod support;

use millrace::rtmp::chunk::MessageHeader;
use millrace::rtmp::chunk::writer::emit_message;
use millrace::rtmp::message::type_id;
use millrace::rtmp::{Csid, Msid};
use support::{Server, Wire, body};

const LOOPS: [&str; 2] = ["1", "3"];

/// A connection that publishes `name` on msid 1, and one that plays it.
fn pair(server: &Server, name: &str) -> (Wire, Wire) {
    let mut publisher = Wire::connect(server.address());
    publisher.publish(name);
    let mut player = Wire::connect(server.address());
    player.play(name);
    (publisher, player)
}

/// The next frame's number and timestamp.
fn next(player: &mut Wire) -> (u64, u32) {
    let packet = player.until(|p| p.is_media() && !body::is_header(&p.body));
    (body::number(&packet.body), packet.timestamp)
}

#[test]
fn timestamps_pass_4_h_40_and_2_31_and_wrap_at_2_32_with_chunked_frames() {
    const CHUNK: u32 = 1000;
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--chunk-size", "1000"]);
        for (index, start) in [0x00FF_FFD8_u32, 0x7FFF_FFD8, 0xFFFF_FFD8].into_iter().enumerate() {
            let (mut publisher, mut player) = pair(&server, &format!("at{index}"));
            publisher.set_chunk_size(777);
            let times: Vec<u32> = (0..5).map(|n| start.wrapping_add(n * 20)).collect();
            for (number, &time) in (1..).zip(&times) {
                let make = if number == 1 { body::key } else { body::inter };
                publisher.video(1, time, &make(number, 5_000));
                publisher.audio(1, time.wrapping_add(3), &body::audio(100 + number, 400));
            }
            for (number, &time) in (1..).zip(&times) {
                assert_eq!(next(&mut player), (number, time));
                assert_eq!(next(&mut player), (100 + number, time.wrapping_add(3)));
            }
            // The wire image: an extended timestamp, repeated in every continuation.
            let late = times.iter().position(|&time| time >= 0x00FF_FFFF).unwrap();
            let make = if late == 0 { body::key } else { body::inter };
            let body = make(late as u64 + 1, 5_000);
            let header = MessageHeader {
                csid: Csid(7),
                timestamp: times[late],
                length: 5_000,
                message_type: type_id::VIDEO,
                msid: Msid(1),
            };
            let mut image = Vec::new();
            emit_message(&header, &body, CHUNK, &mut image);
            assert!(image.windows(4).filter(|w| *w == times[late].to_be_bytes()).count() >= 5);
            assert!(player.raw.windows(image.len()).any(|window| window == image));
        }
    }
}

#[test]
fn a_joiner_at_a_late_timestamp_gets_its_headers_there() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Wire::connect(server.address());
        publisher.publish("late");
        publisher.video(1, 0xFFFF_0000, &body::avc_header(1));
        publisher.video(1, 0xFFFF_FFF0, &body::key(1, 500));
        publisher.video(1, 0x10, &body::inter(2, 500));
        server.has_frames("live/late", 3);
        let mut player = Wire::connect(server.address());
        player.play("late");
        assert_eq!(player.media().timestamp, 0xFFFF_FFF0);
        assert_eq!(next(&mut player), (1, 0xFFFF_FFF0));
        assert_eq!(next(&mut player), (2, 0x10));
    }
}

#[test]
fn a_publisher_may_change_its_chunk_size_at_any_time_down_to_1() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let (mut publisher, mut player) = pair(&server, "sizes");
        publisher.video(1, 0, &body::key(1, 1_000));
        for (number, size) in (2..).zip([1, 2, 65_536, 127, 1, 0x00FF_FFFF, 128]) {
            publisher.set_chunk_size(size);
            publisher.video(1, number as u32, &body::inter(number, 1_000));
        }
        for number in 1..=8 {
            assert_eq!(next(&mut player).0, number);
        }
    }
}

#[test]
fn an_aborted_message_is_forgotten_and_the_stream_goes_on() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let (mut publisher, mut player) = pair(&server, "abort");
        publisher.video(1, 0, &body::key(1, 100));
        let cut = publisher.encode(6, 1, type_id::VIDEO, 40, &body::inter(2, 1_000));
        use std::io::Write;
        // The first chunk only, at a chunk boundary: 128 bytes behind a type-1 header.
        publisher.stream.write_all(&cut[..8 + 128]).unwrap();
        publisher.control(type_id::ABORT, 6);
        publisher.audio(1, 45, &body::audio(3, 100));
        publisher.video(1, 80, &body::inter(4, 100));
        assert_eq!(next(&mut player), (1, 0));
        assert_eq!(next(&mut player), (3, 45));
        assert_eq!(next(&mut player), (4, 80));
    }
}

#[test]
fn an_aggregate_reaches_players_as_single_messages() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let (mut publisher, mut player) = pair(&server, "aggregate");
        let mut aggregate = Vec::new();
        for (kind, time, body) in [
            (type_id::VIDEO, 500_u32, body::key(1, 300)),
            (type_id::AUDIO, 505, body::audio(2, 40)),
            (type_id::VIDEO, 540, body::inter(3, 200)),
        ] {
            aggregate.push(kind);
            aggregate.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
            aggregate.extend_from_slice(&time.to_be_bytes()[1..]);
            aggregate.extend_from_slice(&[0; 4]);
            aggregate.extend_from_slice(&body);
            aggregate.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
        }
        publisher.send(6, 1, type_id::AGGREGATE, 9000, &aggregate);
        for expected in [(1, 9000), (2, 9005), (3, 9040)] {
            assert_eq!(next(&mut player), expected);
        }
    }
}

#[test]
fn an_amf3_publisher_is_understood() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Wire::connect(server.address());
        let msid = publisher.create_stream();
        let mut command = vec![0];
        command.extend(support::wire::command_body("publish", 5.0, |w| {
            w.null().string(b"amf3").string(b"live");
        }));
        publisher.send(3, msid, type_id::COMMAND_AMF3, 0, &command);
        publisher.status(msid, "NetStream.Publish.Start");
        let mut data = vec![0];
        data.extend(body::metadata());
        publisher.send(4, msid, type_id::DATA_AMF3, 77, &data);
        publisher.video(msid, 0, &body::key(1, 100));
        server.has_frames("live/amf3", 1);
        let mut player = Wire::connect(server.address());
        player.play("amf3");
        let metadata = player.until(|packet| packet.name() == "onMetaData");
        assert_eq!((metadata.message_type, metadata.timestamp), (type_id::DATA_AMF0, 0));
        assert_eq!(next(&mut player), (1, 0));
    }
}

#[test]
fn received_bytes_are_acknowledged_by_window_and_pings_answered_while_playing() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--ping-interval", "0.2"]);
        let (mut publisher, mut player) = pair(&server, "acks");
        let before = publisher.raw.len();
        publisher.set_chunk_size(60_000);
        publisher.control(type_id::WINDOW_ACK_SIZE, 100_000);
        for number in 1..=20 {
            let make = if number == 1 { body::key } else { body::inter };
            publisher.video(1, number as u32, &make(number, 50_000));
        }
        let mut last = 0;
        while last < 900_000 {
            let packet = publisher.until(|p| p.message_type == type_id::ACKNOWLEDGEMENT);
            let sequence = u32::from_be_bytes(packet.body.try_into().unwrap());
            assert!(sequence > last && sequence - last <= 300_000, "{last} then {sequence}");
            last = sequence;
        }
        assert!(publisher.raw.len() > before);
        for number in 1..=20 {
            assert_eq!(next(&mut player).0, number);
        }
        // The server's ping to a silent player, and a ping to the server in the other direction.
        let ping = player.until(|p| p.event().is_some_and(|(event, _)| event == 6));
        player.send(2, 0, type_id::USER_CONTROL, 0, &[&[0, 7], &ping.body[2..]].concat());
        player.send(2, 0, type_id::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]);
        player.event(7, 0x0102_0304);
    }
}
