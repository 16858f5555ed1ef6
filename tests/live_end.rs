//! How a publisher ends and what its players notice, with one loop and with three.
mod support;

use std::io::Write;
use std::time::Duration;

use millrace::rtmp::message::type_id;
use millrace::rtmp::session::{ClientRole, MediaKind};
use support::wire::command_body;
use support::{Arrival, Client, Got, Message, Packet, Server, Wire, body, connect_from};

const LOOPS: [&str; 2] = ["1", "3"];

/// A publisher of `name` whose frames 1 (key), 2 (audio) lie at `start` and 5 ms later.
fn publisher(server: &Server, name: &str, start: u32) -> Client {
    let mut publisher = Client::publish(server.address(), &format!("live/{name}"));
    begin(&mut publisher, start, 1);
    server.has_frames(&format!("live/{name}"), 4);
    publisher
}

fn begin(publisher: &mut Client, start: u32, version: u8) {
    publisher.audio(start, &body::aac_header());
    publisher.video(start, &body::avc_header(version));
    publisher.video(start, &body::key(1, 300));
    publisher.audio(start + 5, &body::audio(2, 100));
}

/// Three players that have got frames 1 and 2.
fn players(server: &Server, name: &str) -> Vec<Client> {
    let mut players: Vec<Client> =
        (0..3).map(|_| Client::play(server.address(), &format!("live/{name}"))).collect();
    for player in &mut players {
        for expected in [1, 2] {
            assert_eq!(body::number(&frame(player).body), expected);
        }
    }
    players
}

/// The next audio or video message that is no header.
fn frame(player: &mut Client) -> Message {
    loop {
        let message = player.message();
        if message.kind != MediaKind::Data && !body::is_header(&message.body) {
            return message;
        }
    }
}

#[test]
fn every_explicit_unpublish_tells_the_publisher_and_ends_the_players() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold", "60"]);
        for how in ["FCUnpublish", "deleteStream", "closeStream", "publish(false)"] {
            let mut wire = Wire::connect(server.address());
            let msid = wire.publish(how);
            wire.video(msid, 0, &body::key(1, 100));
            let mut player = Wire::connect(server.address());
            let playing = player.play(how);
            assert_eq!(body::number(&player.media().body), 1);
            match how {
                "FCUnpublish" => drop(wire.call(0, how, how)),
                "deleteStream" => drop(wire.command(0, how, |w| {
                    w.null().number(f64::from(msid));
                })),
                "closeStream" => drop(wire.command(msid, how, |w| {
                    w.null();
                })),
                _ => drop(wire.command(msid, "publish", |w| {
                    w.null().boolean(false);
                })),
            }
            wire.status(msid, "NetStream.Unpublish.Success");
            let (packets, end) = player.rest();
            let eof = packets.iter().position(|p| p.event() == Some((1, playing))).unwrap();
            let told = |p: &Packet| p.code() == "NetStream.Play.UnpublishNotify";
            assert_eq!(packets.iter().position(told), Some(eof + 1), "{how}: {packets:?}");
            assert_eq!(end, Arrival::Closed, "{how}");
            // The connection goes on and may publish again.
            let again = wire.publish("again");
            wire.command(again, "closeStream", |w| {
                w.null();
            });
        }
        server.closed_for("stream_ended");
    }
}

#[test]
fn players_are_held_when_a_publisher_is_reset_in_mid_frame_and_go_on_with_the_next() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut first = publisher(&server, "hold", 5000);
        let mut players = players(&server, "hold");
        let half = first.encode(MediaKind::Video, 5040, &body::inter(3, 50_000));
        first.raw(&half[..20_000]);
        socket2::SockRef::from(&first.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(first);
        server.closed_for("socket");
        let mut second = Client::publish(server.address(), "live/hold");
        begin(&mut second, 0, 2);
        second.video(40, &body::inter(3, 100));
        second.audio(46, &body::audio(4, 100));
        for player in &mut players {
            // Nothing was sent in between: the next message is the new publisher's.
            let next = player.message();
            assert_eq!((next.kind, next.body), (MediaKind::Audio, body::aac_header()));
            assert_eq!(next.timestamp, 5006, "one after the greatest timestamp so far");
            let times: Vec<(u64, u32)> = (0..4)
                .map(|_| frame(player))
                .map(|message| (body::number(&message.body), message.timestamp - 5006))
                .collect();
            assert_eq!(times, [(1, 0), (2, 5), (3, 40), (4, 46)]);
        }
    }
}

#[test]
fn timestamps_above_the_last_one_are_not_moved() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        drop(publisher(&server, "up", 1000));
        server.closed_for("peer_closed");
        let mut second = Client::publish(server.address(), "live/up");
        begin(&mut second, 9000, 1);
        let mut player = Client::play(server.address(), "live/up");
        assert_eq!(frame(&mut player).timestamp, 9000);
    }
}

#[test]
fn when_the_hold_is_over_players_are_told_and_closed() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold", "0.3"]);
        drop(publisher(&server, "over", 0));
        let mut held = Client::play(server.address(), "live/over");
        held.expect(&Got::StreamEof);
        held.expect_status("NetStream.Play.UnpublishNotify");
        assert_eq!(held.next(), Got::Closed);
        server.closed_for("stream_ended");
        server.stats_when("no stream", |stats| stats["total"]["connections"] == 0);
    }
}

#[test]
fn players_of_a_lost_publisher_are_told_once_the_hold_is_over() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold", "0.3"]);
        let first = publisher(&server, "lost", 0);
        let mut players = players(&server, "lost");
        drop(first);
        for player in &mut players {
            assert_eq!(player.next(), Got::StreamEof);
            assert_eq!(player.next(), Got::Status("NetStream.Play.UnpublishNotify".into()));
            assert_eq!(player.next(), Got::Closed);
        }
    }
}

#[test]
fn without_hold_a_lost_publisher_ends_its_players_at_once() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold", "0"]);
        let first = publisher(&server, "now", 0);
        let mut players = players(&server, "now");
        drop(first);
        for player in &mut players {
            player.expect_status("NetStream.Play.UnpublishNotify");
        }
    }
}

#[test]
fn frames_before_fin_arrive_and_so_does_the_unpublish_behind_them() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold", "60"]);
        let mut first = publisher(&server, "fin", 0);
        let mut players = players(&server, "fin");
        for number in 3..60 {
            first.video(40 * number as u32, &body::inter(number, 20_000));
        }
        first.end();
        drop(first);
        for player in &mut players {
            for number in 3..60 {
                assert_eq!(body::number(&frame(player).body), number);
            }
            player.expect_status("NetStream.Play.UnpublishNotify");
        }
    }
}

#[test]
fn the_same_address_takes_over_at_once_and_only_once_in_ten_seconds() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut first = publisher(&server, "take", 1000);
        let mut players = players(&server, "take");
        let mut second = Client::publish(server.address(), "live/take");
        first.expect_status("NetStream.Unpublish.Success");
        first.expect_end();
        begin(&mut second, 0, 2);
        for player in &mut players {
            let message = frame(player);
            assert_eq!((body::number(&message.body), message.timestamp), (1, 1006));
        }
        let mut third = Client::begin_publish(server.address(), "live/take");
        third.expect_status("NetStream.Publish.BadName");
        assert_eq!(third.expect_end(), Got::Closed);
        second.video(40, &body::inter(3, 100));
        for player in &mut players {
            assert_eq!(body::number(&frame(player).body), 2);
            assert_eq!(body::number(&frame(player).body), 3);
        }
        server.closed_for("taken_over");
        server.closed_for("refused");
    }
}

#[test]
fn another_address_gets_the_name_when_the_publisher_is_silent_for_two_seconds() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut first = publisher(&server, "silent", 0);
        let mut players = players(&server, "silent");
        let stream = connect_from("127.0.0.77", server.address());
        let mut second = Client::on(stream, "live", ClientRole::Publish { name: "silent".into() });
        second.expect(&Got::Started);
        begin(&mut second, 0, 2);
        for player in &mut players {
            assert_eq!(body::number(&frame(player).body), 1);
        }
        first.expect_status("NetStream.Unpublish.Success");
    }
}

#[test]
fn another_address_is_refused_while_the_publisher_sends() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut first = publisher(&server, "busy", 0);
        let stream = connect_from("127.0.0.77", server.address());
        let mut second = Client::on(stream, "live", ClientRole::Publish { name: "busy".into() });
        let mut number = 3;
        let refusal = loop {
            first.video(40 * number as u32, &body::inter(number, 100));
            number += 1;
            match second.next_within(Duration::from_millis(100)) {
                None | Some(Got::Connected) => {}
                Some(got) => break got,
            }
        };
        assert_eq!(refusal, Got::Status("NetStream.Publish.BadName".into()));
        assert_eq!(second.expect_end(), Got::Closed);
        assert!(number > 20, "refused after {number} frames of the current publisher");
    }
}

#[test]
fn takeover_always_and_never_do_what_they_say() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--takeover", "always"]);
        let mut first = publisher(&server, "t", 0);
        for _ in 0..3 {
            let stream = connect_from("127.0.0.77", server.address());
            let mut next = Client::on(stream, "live", ClientRole::Publish { name: "t".into() });
            next.expect(&Got::Started);
            first.expect_end();
            first = next;
        }
        let server = Server::start(&["--loops", loops, "--takeover", "never"]);
        let _first = publisher(&server, "t", 0);
        let mut second = Client::begin_publish(server.address(), "live/t");
        second.expect_status("NetStream.Publish.BadName");
        assert_eq!(second.expect_end(), Got::Closed);
    }
}

#[test]
fn hold_always_keeps_players_over_an_unpublish() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--hold-always"]);
        let mut first = publisher(&server, "always", 0);
        let mut players = players(&server, "always");
        first.end();
        first.expect_status("NetStream.Unpublish.Success");
        let mut second = Client::publish(server.address(), "live/always");
        begin(&mut second, 0, 2);
        for player in &mut players {
            assert_eq!(player.message().body, body::aac_header());
            assert_eq!(body::number(&frame(player).body), 1);
        }
    }
}

#[test]
fn a_connection_that_publishes_and_plays_is_told_both_at_shutdown() {
    for loops in LOOPS {
        let mut server = Server::start(&["--loops", loops, "--grace", "60"]);
        let _other = publisher(&server, "other", 0);
        let mut wire = Wire::connect(server.address());
        let (own, playing) = (wire.publish("own"), wire.play("other"));
        server.signal(rustix::process::Signal::TERM);
        let (packets, end) = wire.rest();
        for (msid, code) in
            [(own, "NetStream.Unpublish.Success"), (playing, "NetStream.Play.UnpublishNotify")]
        {
            let told = packets.iter().filter(|p| p.msid == msid && p.code() == code);
            assert_eq!(told.count(), 1, "{code} in {packets:?}");
        }
        assert_eq!(end, Arrival::Closed);
        assert!(server.wait().success(), "long before the end of --grace");
    }
}

#[test]
fn a_publish_that_waits_is_refused_at_shutdown_and_not_told_that_it_has_ended() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--grace", "60"]);
        let _first = publisher(&server, "wanted", 0);
        let mut second = Wire::handshake(connect_from("127.0.0.77", server.address()));
        second.connect_app("live");
        let msid = second.create_stream();
        let before = server.total("bytes_in");
        second.call(msid, "publish", "wanted");
        server.stats_when("the publish", |s| s["total"]["bytes_in"].as_u64() > Some(before));
        server.signal(rustix::process::Signal::TERM);
        let (packets, end) = second.rest();
        let codes: Vec<String> = packets.iter().map(Packet::code).collect();
        assert_eq!(codes, ["NetStream.Publish.Rejected"], "{packets:?}");
        assert_eq!(end, Arrival::Closed);
    }
}

#[test]
fn what_a_publisher_sent_before_it_went_counts_though_it_takes_no_more_replies() {
    for loops in LOOPS {
        // Small turns, so that a reply fails while most of the input is still unread.
        let small = ["--turn-bytes", "1K", "--ring-bytes", "4K", "--hold", "60"];
        let server = Server::start(&[&["--loops", loops][..], &small].concat());
        let mut wire = Wire::connect(server.address());
        let msid = wire.publish("rest");
        let mut player = Client::play(server.address(), "live/rest");
        let mut bytes = wire.encode(2, 0, type_id::WINDOW_ACK_SIZE, 0, &4096_u32.to_be_bytes());
        for number in 1..=40 {
            let make = if number == 1 { body::key } else { body::inter };
            bytes.extend(wire.encode(6, msid, type_id::VIDEO, 0, &make(number, 1_000)));
        }
        let unpublish = command_body("FCUnpublish", 9.0, |w| {
            w.null().string(b"rest");
        });
        bytes.extend(wire.encode(3, 0, type_id::COMMAND_AMF0, 0, &unpublish));
        wire.stream.write_all(&bytes).unwrap();
        drop(wire);
        for number in 1..=40 {
            assert_eq!(body::number(&frame(&mut player).body), number);
        }
        player.expect_status("NetStream.Play.UnpublishNotify");
    }
}
