//! Faults that were found by attack, each with the shortest story that shows it.

mod support;

use std::thread;

use millrace::rtmp::session::MediaKind;
use support::wire::command_body;
use support::{Client, Server, Wire, body, connect_from};

/// The bytes of one command on message stream 1.
fn command(
    wire: &mut Wire,
    name: &str,
    argument: impl Fn(&mut millrace::rtmp::amf0::Writer<'_>),
) -> Vec<u8> {
    let body = command_body(name, 0.0, |writer| argument(writer.null()));
    wire.encode(3, 1, 20, 0, &body)
}

#[test]
fn a_publish_that_waits_for_its_answer_pins_no_ring() {
    let server = Server::start(&["--loops", "1", "--rings", "1", "--takeover", "idle"]);
    let mut first = Client::publish(server.address(), "live/name");
    first.video(0, &body::key(0, 100));
    let mut second = Wire::handshake(connect_from("127.0.0.2", server.address()));
    second.connect_app("live");
    let msid = second.create_stream();
    second.call(msid, "publish", "name");
    drop(Client::idle(server.address()));
    assert_eq!(server.total("rings_exhausted"), 0);
}

#[test]
fn a_play_on_a_playing_stream_is_answered_at_the_end_of_a_turn() {
    let server = Server::start(&["--loops", "1"]);
    let mut wire = Wire::connect(server.address());
    wire.set_chunk_size(60_000);
    assert_eq!(wire.play("one"), 1);
    // The 1024th event of the turn is the end of the first play.
    let mut bytes = command(&mut wire, "receiveAudio", |writer| {
        writer.boolean(false);
    });
    bytes = bytes.repeat(1023);
    bytes.extend(command(&mut wire, "play", |writer| {
        writer.string(b"two");
    }));
    std::io::Write::write_all(&mut wire.stream, &bytes).unwrap();
    wire.status(1, "NetStream.Play.Start");
}

#[test]
fn the_end_of_a_stream_is_told_once_on_each_message_stream() {
    let server = Server::start(&["--loops", "1"]);
    let mut publisher = Client::publish(server.address(), "live/name");
    publisher.video(0, &body::key(0, 100));
    let mut wire = Wire::connect(server.address());
    let msids: Vec<u32> = (0..4).map(|_| wire.play("name")).collect();
    publisher.end();
    let (packets, _end) = wire.rest();
    let told = packets.iter().filter(|packet| packet.code() == "NetStream.Play.UnpublishNotify");
    let mut told: Vec<u32> = told.map(|packet| packet.msid).collect();
    told.sort_unstable();
    assert_eq!(told, msids);
}

#[test]
fn whoever_fills_every_turn_keeps_no_ring_from_others() {
    let server = Server::start(&["--loops", "1", "--rings", "1"]);
    let flood = |path| {
        let mut flooder = Client::publish(server.address(), path);
        let mut flood = flooder.encode(MediaKind::Audio, 0, &[]);
        // Empty messages of one byte each, far more than a turn takes.
        flood.resize(500_000, 0xC0 | (flood[0] & 0x3F));
        thread::spawn(move || {
            assert!(flooder.raw(&flood));
            flooder
        })
    };
    // A read that finds no ring is a failed assertion of the server.
    let flooders = ["live/a", "live/b", "live/c"].map(flood);
    server.stats_when("a ring that was given back", |stats| {
        stats["total"]["rings_exhausted"].as_u64().unwrap() > 0
    });
    drop(Client::idle(server.address()));
    let _flooders = flooders.map(|flooder| flooder.join().unwrap());
}

#[test]
fn an_aggregate_is_split_into_1024_messages_and_no_more() {
    let server = Server::start(&["--loops", "1"]);
    let mut publisher = Wire::connect(server.address());
    publisher.set_chunk_size(60_000);
    let msid = publisher.publish("name");
    // An empty audio message: type, length, timestamp, msid, back pointer.
    let part = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    publisher.send(6, msid, 22, 0, &part.repeat(1025));
    publisher.send(6, msid, 22, 0, &part.repeat(3));
    server.stats_when("both aggregates", |stats| {
        stats["loops"][0]["streams"][0]["frames_in"] == 1024 + 3
    });
}
