//! Several message streams on one connection, and what a player may ask for while it plays.
mod support;

use std::net::{Shutdown, TcpStream};

use millrace::limits::MESSAGE_STREAMS_MAX;
use millrace::rtmp::message::type_id;
use support::{Arrival, Client, Packet, Server, Wire, body};

const LOOPS: [&str; 2] = ["1", "3"];

/// A publisher of `name` with a header, and a GOP: keyframe 1, audio 2, inter frame 3.
fn publisher(server: &Server, name: &str) -> Client {
    let mut publisher = Client::publish(server.address(), &format!("live/{name}"));
    publisher.audio(0, &body::aac_header());
    publisher.video(0, &body::avc_header(1));
    publisher.video(40, &body::key(1, 300));
    publisher.audio(45, &body::audio(2, 100));
    publisher.video(80, &body::inter(3, 200));
    server.has_frames(&format!("live/{name}"), 5);
    publisher
}

/// The frame numbers of the next `count` media messages on `msid` that are no headers.
fn numbers(wire: &mut Wire, msid: u32, count: usize) -> Vec<u64> {
    let is_frame = |p: &Packet| p.is_media() && p.msid == msid && !body::is_header(&p.body);
    (0..count).map(|_| body::number(&wire.until(is_frame).body)).collect()
}

/// A socket whose kernel takes little before it is read.
fn narrow(server: &Server) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&server.address().into()).unwrap();
    socket.into()
}

/// Waits until the players have got the beginning of a large frame.
fn begun(server: &Server) {
    server.stats_when("a large frame", |s| s["total"]["bytes_out"].as_u64() > Some(20_000));
}

#[test]
fn one_connection_publishes_and_plays_at_once() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let _other = publisher(&server, "other");
        let mut wire = Wire::connect(server.address());
        let own = wire.publish("own");
        let playing = wire.play("other");
        assert_eq!((own, playing), (1, 2));
        assert_eq!(numbers(&mut wire, playing, 3), [1, 2, 3]);
        wire.video(own, 0, &body::key(7, 100));
        let mut player = Client::play(server.address(), "live/own");
        assert_eq!(body::number(&player.message().body), 7);
        let itself = wire.play("own");
        assert_eq!(numbers(&mut wire, itself, 1), [7]);
        wire.video(own, 40, &body::inter(8, 100));
        assert_eq!(numbers(&mut wire, itself, 1), [8]);
        assert_eq!(body::number(&player.message().body), 8);
    }
}

#[test]
fn a_player_on_another_msid_gets_the_same_bytes_with_its_own_msid() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--chunk-size", "1000"]);
        let mut publisher = publisher(&server, "patched");
        let mut wire = Wire::connect(server.address());
        assert_eq!((wire.create_stream(), wire.create_stream()), (1, 2));
        let msid = wire.play("patched");
        assert_eq!(msid, 3);
        let header = wire.media();
        assert_eq!((header.msid, header.body), (3, body::aac_header()));
        assert_eq!(numbers(&mut wire, 3, 3), [1, 2, 3]);
        for number in 4..40 {
            publisher.video(80 + number as u32, &body::inter(number, 5_000));
        }
        assert_eq!(numbers(&mut wire, 3, 36), (4..40).collect::<Vec<u64>>());
    }
}

#[test]
fn two_players_of_one_connection_share_the_socket_frame_by_frame() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--sndbuf", "8K"]);
        let (mut a, mut b) = (publisher(&server, "a"), publisher(&server, "b"));
        let mut wire = Wire::handshake(narrow(&server));
        wire.connect_app("live");
        let (one, two) = (wire.create_stream(), wire.create_stream());
        wire.call(one, "play", "a");
        wire.call(two, "play", "b");
        for number in 4..12 {
            a.video(80 + number as u32, &body::inter(number, 100_000));
            b.video(80 + number as u32, &body::inter(100 + number, 90_000));
        }
        let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
        while from_a.len() + from_b.len() < 22 {
            let packet = wire.until(|p| p.is_media() && !body::is_header(&p.body));
            let list = if packet.msid == one { &mut from_a } else { &mut from_b };
            assert!(packet.msid == one || packet.msid == two);
            list.push(body::number(&packet.body));
        }
        assert_eq!(from_a, (1..12).collect::<Vec<u64>>());
        assert_eq!(from_b, [1, 2, 3].into_iter().chain(104..112).collect::<Vec<u64>>());
    }
}

#[test]
fn sixteen_players_of_one_connection_get_every_byte_through_a_narrow_socket() {
    const FRAMES: u64 = 60;
    const NAMES: [&str; 3] = ["a", "b", "c"];
    // Writes end anywhere: in headers, between chunks, between players.
    let flags = ["--sndbuf", "4K", "--notsent-lowat", "1", "--flush-slice", "1"];
    let server = Server::start(&[&["--loops", "1", "--chunk-size", "128"], &flags[..]].concat());
    let mut publishers = NAMES.map(|name| publisher(&server, name));
    let mut wire = Wire::handshake(narrow(&server));
    wire.connect_app("live");
    let msids: Vec<u32> = (0..MESSAGE_STREAMS_MAX).map(|_| wire.create_stream()).collect();
    for &msid in &msids {
        wire.call(msid, "play", NAMES[msid as usize % 3]);
    }
    for number in 4..=FRAMES {
        for (publisher, of) in publishers.iter_mut().zip(0_u64..) {
            let len = (number * 37 + of) as usize % 700;
            publisher.video(80 + number as u32, &body::inter(number, len));
        }
    }
    let mut next = [1; MESSAGE_STREAMS_MAX + 1];
    while msids.iter().any(|&msid| next[msid as usize] <= FRAMES) {
        let Packet { msid, body, .. } = wire.until(|p| p.is_media() && !body::is_header(&p.body));
        let number = next[msid as usize];
        let len = (number * 37 + u64::from(msid) % 3) as usize % 700;
        let sent = match number {
            1 => body::key(1, 300),
            2 => body::audio(2, 100),
            3 => body::inter(3, 200),
            _ => body::inter(number, len),
        };
        assert_eq!(body, sent, "frame {number} on {msid}");
        next[msid as usize] += 1;
    }
}

#[test]
fn a_second_publish_that_is_refused_ends_the_first_and_stops_nobody_else() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--takeover", "never"]);
        let _busy = publisher(&server, "busy");
        let mut wire = Wire::connect(server.address());
        wire.publish("own");
        let second = wire.create_stream();
        wire.call(second, "publish", "busy");
        wire.status(second, "NetStream.Publish.BadName");
        assert_eq!(wire.rest().1, Arrival::Closed);
        server.closed_for("refused");
        Client::publish(server.address(), "live/next");
    }
}

#[test]
fn two_players_of_one_connection_are_told_of_their_end_once_each() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "ends");
        let mut wire = Wire::connect(server.address());
        let (one, two) = (wire.create_stream(), wire.create_stream());
        wire.call(one, "play", "ends");
        wire.call(two, "play", "ends");
        wire.status(two, "NetStream.Play.Start");
        publisher.end();
        let (packets, end) = wire.rest();
        assert_eq!(end, Arrival::Closed);
        for msid in [one, two] {
            let told = |p: &&Packet| {
                p.msid == msid && p.code() == "NetStream.Play.UnpublishNotify"
                    || p.event() == Some((1, msid))
            };
            assert_eq!(packets.iter().filter(told).count(), 2, "{packets:?}");
        }
        server.closed_for("stream_ended");
    }
}

#[test]
fn every_way_to_stop_and_play_again_works_on_one_connection() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let _publisher = publisher(&server, "again");
        let mut wire = Wire::connect(server.address());
        let mut msid = wire.play("again");
        assert_eq!(numbers(&mut wire, msid, 3), [1, 2, 3]);
        for stop in ["closeStream", "deleteStream", "play(false)", "another play"] {
            match stop {
                "closeStream" => drop(wire.command(msid, stop, |w| {
                    w.null();
                })),
                "deleteStream" => {
                    wire.command(0, stop, |w| {
                        w.null().number(f64::from(msid));
                    });
                    msid = wire.create_stream();
                }
                "play(false)" => drop(wire.command(msid, "play", |w| {
                    w.null().boolean(false);
                })),
                _ => {}
            }
            wire.call(msid, "play", "again");
            wire.status(msid, "NetStream.Play.Start");
            assert_eq!(numbers(&mut wire, msid, 3), [1, 2, 3], "after {stop}");
        }
        server.stats_when("one player", |stats| stats["total"]["players"] == 1);
    }
}

#[test]
fn a_player_that_stops_in_the_middle_of_a_frame_gets_its_rest_before_anything_else() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--sndbuf", "8K"]);
        let mut publisher = publisher(&server, "half");
        let mut wire = Wire::handshake(narrow(&server));
        wire.connect_app("live");
        let msid = wire.play("half");
        publisher.video(120, &body::inter(4, 3_000_000));
        begun(&server);
        wire.command(msid, "closeStream", |w| {
            w.null();
        });
        wire.call(msid, "play", "half");
        assert_eq!(numbers(&mut wire, msid, 4), [1, 2, 3, 4]);
        wire.status(msid, "NetStream.Play.Start");
        assert_eq!(numbers(&mut wire, msid, 4), [1, 2, 3, 4]);
    }
}

#[test]
fn a_player_refused_in_the_middle_of_a_frame_gets_its_rest_and_the_status() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--sndbuf", "8K", "--no-publisher", "fail"]);
        let mut publisher = publisher(&server, "half");
        let mut wire = Wire::handshake(narrow(&server));
        wire.connect_app("live");
        let (msid, other) = (wire.create_stream(), wire.create_stream());
        wire.call(msid, "play", "half");
        publisher.video(120, &body::inter(4, 1_000_000));
        begun(&server);
        wire.call(other, "play", "nothing");
        assert_eq!(numbers(&mut wire, msid, 4), [1, 2, 3, 4]);
        wire.status(other, "NetStream.Play.StreamNotFound");
        assert_eq!(wire.rest().1, Arrival::Closed);
    }
}

#[test]
fn pause_in_the_middle_of_a_frame_is_answered_behind_it_and_unpause_begins_anew() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--sndbuf", "8K"]);
        let mut publisher = publisher(&server, "pause");
        let mut wire = Wire::handshake(narrow(&server));
        wire.connect_app("live");
        let msid = wire.play("pause");
        publisher.video(120, &body::inter(4, 1_000_000));
        begun(&server);
        wire.command(msid, "pause", |w| {
            w.null().boolean(true).number(0.0);
        });
        assert_eq!(numbers(&mut wire, msid, 4), [1, 2, 3, 4]);
        wire.status(msid, "NetStream.Pause.Notify");
        publisher.video(160, &body::inter(5, 100));
        publisher.video(200, &body::key(6, 100));
        server.has_frames("live/pause", 8);
        wire.command(msid, "pause", |w| {
            w.null().boolean(false).number(0.0);
        });
        wire.status(msid, "NetStream.Unpause.Notify");
        let headers = [wire.media().body, wire.media().body];
        assert_eq!(headers, [body::aac_header(), body::avc_header(1)]);
        assert_eq!(numbers(&mut wire, msid, 1), [6]);
    }
}

#[test]
fn receive_audio_and_receive_video_switch_what_a_player_gets() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "parts");
        let mut wire = Wire::connect(server.address());
        let msid = wire.play("parts");
        assert_eq!(numbers(&mut wire, msid, 3), [1, 2, 3]);
        wire.command(msid, "receiveVideo", |w| {
            w.null().boolean(false);
        });
        // An answered command shows that the ones before it were handled.
        wire.create_stream();
        publisher.video(120, &body::inter(4, 100));
        publisher.audio(125, &body::audio(5, 100));
        assert_eq!(numbers(&mut wire, msid, 1), [5]);
        wire.command(msid, "receiveVideo", |w| {
            w.null().boolean(true);
        });
        wire.command(msid, "receiveAudio", |w| {
            w.null().boolean(false);
        });
        wire.create_stream();
        publisher.video(160, &body::inter(6, 100));
        publisher.audio(165, &body::audio(7, 100));
        publisher.video(200, &body::key(8, 100));
        publisher.video(240, &body::inter(9, 100));
        assert_eq!(numbers(&mut wire, msid, 2), [8, 9]);
    }
}

#[test]
fn more_message_streams_than_allowed_are_refused_and_the_connection_stays() {
    let server = Server::start(&["--loops", "1"]);
    let mut wire = Wire::connect(server.address());
    for msid in 1..=16 {
        assert_eq!(wire.create_stream(), msid);
    }
    wire.command(0, "createStream", |w| {
        w.null();
    });
    let refusal = wire.until(|packet| packet.name() == "_error");
    assert_eq!(refusal.code(), "NetConnection.Call.Failed");
    wire.call(16, "publish", "last");
    wire.status(16, "NetStream.Publish.Start");
    wire.video(16, 0, &body::key(1, 50));
    let mut player = Client::play(server.address(), "live/last");
    assert_eq!(body::number(&player.message().body), 1);
}

#[test]
fn a_player_that_closes_its_sending_side_is_closed() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let _publisher = publisher(&server, "gone");
        let mut wire = Wire::connect(server.address());
        wire.play("gone");
        wire.stream.shutdown(Shutdown::Write).unwrap();
        wire.rest();
        server.closed_for("peer_closed");
        server.stats_when("no player", |stats| stats["total"]["players"] == 0);
    }
}

#[test]
fn play_with_a_duration_ends_with_stop_and_keeps_the_connection() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = publisher(&server, "short");
        let mut wire = Wire::connect(server.address());
        let msid = wire.create_stream();
        wire.command(msid, "play", |writer| {
            writer.null().string(b"short").number(-2000.0).number(100.0);
        });
        assert_eq!(numbers(&mut wire, msid, 3), [1, 2, 3]);
        publisher.video(139, &body::inter(4, 100));
        publisher.video(140, &body::inter(5, 100));
        assert_eq!(numbers(&mut wire, msid, 1), [4]);
        wire.event(1, msid);
        let complete = wire.until(|packet| packet.name() == "onPlayStatus");
        assert_eq!(complete.message_type, type_id::DATA_AMF0);
        assert_eq!(complete.code(), "NetStream.Play.Complete");
        wire.status(msid, "NetStream.Play.Stop");
        wire.call(msid, "play", "short");
        assert_eq!(numbers(&mut wire, msid, 5), [1, 2, 3, 4, 5]);
    }
}
