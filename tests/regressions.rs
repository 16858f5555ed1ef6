//! Faults that were found by attack, each with the shortest story that shows it.

mod support;

use std::thread;

use millrace::budget::Budget;
use millrace::media::log::GopMode;
use millrace::rtmp::Msid;
use millrace::rtmp::session::MediaKind;
use millrace::service::StreamKey;
use millrace::service::directory::{Claim, Directory, DirectoryLimits, Takeover};
use millrace::service::live::{Live, LiveConfig, PublishAnswer};
use millrace::service::message::LoopId;
use millrace::service::publisher::{ConnectionId, PublisherSetup};
use millrace::time::Millis;
use rustix::process::Signal;
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

#[test]
fn a_flood_on_one_listener_keeps_nobody_from_another() {
    let listen = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let server = Server::start(&[&listen[..], &["--loops", "1"]].concat());
    server.signal(Signal::STOP);
    // The listener that is ready last is asked first.
    let quiet = connect_from("127.0.0.2", server.addresses[0]);
    let flood: Vec<_> = (0..50).map(|_| connect_from("127.0.0.3", server.addresses[1])).collect();
    server.signal(Signal::CONT);
    let line = server.line(|line| line.contains("from 127.0.0.2 on loop"));
    let session: usize = line
        .split_whitespace()
        .skip_while(|word| *word != "session")
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(session <= 2, "{line}");
    drop((quiet, flood));
}

#[test]
fn holds_of_names_that_are_published_again_are_forgotten() {
    let limits = DirectoryLimits {
        takeover: Takeover::Always,
        hold_ms: 10_000,
        hold_always: true,
        publishers: 0,
        streams: 0,
    };
    let mut directory = Directory::new(limits);
    let config = LiveConfig {
        log: support::frames::limits(GopMode::Gop),
        flush_ms: 40,
        merge_ms: 0,
        lag_ms: 5_000,
        hold_ms: 10_000,
        wait_for_publisher: true,
        wait_ms: 30_000,
        setup: PublisherSetup { chunk_size: 60_000, budget: Budget::new(1 << 20) },
    };
    let mut live = Live::new(LoopId(0), config);
    let key = StreamKey::new(b"live", b"name").unwrap();
    let claim = Claim { on: LoopId(0), address: [127, 0, 0, 1].into(), asked: Millis(0) };
    let who = (ConnectionId::new(0, 1), Msid(1));
    for round in 0..1_000 {
        let now = Millis(round);
        let answer = live.publish(&mut directory, &key, who, claim, now);
        let PublishAnswer::Ready(slot) = answer else { panic!("{answer:?}") };
        live.unpublish(&mut directory, slot, true, now);
        assert!(live.holds() <= 2, "{} in round {round}", live.holds());
    }
    live.handle_timeout(&mut directory, Millis(10_998));
    assert_eq!(directory.streams(), 1, "the newest hold counts");
    live.handle_timeout(&mut directory, Millis(10_999));
    assert_eq!((live.holds(), directory.streams()), (0, 0));
}
