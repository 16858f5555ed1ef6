//! The protocol on real sockets: dialogues in one write and byte by byte, chunks of
//! every kind from a publisher to its player, acknowledgements and pings.
mod support;

use std::io::Write;
use std::net::TcpStream;

use millrace::rtmp::message::type_id;
use support::body;
use support::session::{call, connect, raw};
use support::{Client, PATIENCE, Packet, Server, Wire};

/// C0 C1 C2, connect, createStream, publish and a keyframe.
fn whole_dialogue(name: &str) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.resize(3073, 0);
    bytes.extend(connect("live"));
    bytes.extend(call("3/0 createStream 2 null"));
    bytes.extend(call(&format!("8/1 publish 3 null {name} live")));
    bytes.extend(raw(6, 1, 9, &body::key(7, 400)));
    bytes
}

#[test]
fn a_publisher_may_send_everything_in_one_write_or_byte_by_byte() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publishers = Vec::new();
        for (name, step) in [("one", usize::MAX), ("bytes", 1), ("odd", 1001)] {
            let mut stream = TcpStream::connect_timeout(&server.address(), PATIENCE).unwrap();
            stream.set_nodelay(true).unwrap();
            let bytes = whole_dialogue(name);
            for part in bytes.chunks(step.min(bytes.len())) {
                stream.write_all(part).unwrap();
            }
            publishers.push(stream);
            let mut player = Wire::connect(server.address());
            player.play(name);
            let frame = player.media();
            assert_eq!((body::number(&frame.body), frame.timestamp), (7, 0), "{name}");
        }
    }
}

/// A type-0 header.
fn header(basic: &[u8], timestamp: u32, length: usize, kind: u8) -> Vec<u8> {
    let field = timestamp.min(0xFF_FFFF).to_be_bytes();
    let length = u32::try_from(length).unwrap().to_be_bytes();
    let mut bytes = [basic, &field[1..], &length[1..], &[kind, 1, 0, 0, 0]].concat();
    if timestamp >= 0xFF_FFFF {
        bytes.extend(timestamp.to_be_bytes());
    }
    bytes
}

/// A sub-message of an aggregate.
fn sub_message(kind: u8, timestamp: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let [_, size @ ..] = length.to_be_bytes();
    let head = [&[kind][..], &size, &[0, 0, timestamp, 0, 0, 0, 0]].concat();
    [&head, body, &(length + 11).to_be_bytes()[..]].concat()
}

type Sent = (u8, u32, Vec<u8>);

/// Chunks that a lawful but unusual sender may send, and the messages in them.
fn unusual_chunks() -> (Vec<u8>, Vec<Sent>) {
    let (video, audio) = (type_id::VIDEO, type_id::AUDIO);
    let key = body::key(1, 300);
    let mut wire = Vec::new();
    // A keyframe in chunks of 128 on csid 65599, an audio message between its chunks on csid 64.
    let far = [1, 0xFF, 0xFF];
    wire.extend(header(&far, 1000, key.len(), video));
    wire.extend(&key[..128]);
    let sound = body::audio(2, 100);
    wire.extend(header(&[0, 0], 1000, sound.len(), audio));
    wire.extend(&sound);
    for chunk in [&key[128..256], &key[256..]] {
        wire.extend([0xC1, 0xFF, 0xFF]);
        wire.extend(chunk);
    }
    // A message that is aborted, and one of type 1 with an extended delta, repeated in type 3.
    wire.extend(header(&[7], 1000, 200, video));
    wire.extend([0xEE; 128]);
    wire.extend(raw(2, 0, 2, &[0, 0, 0, 7]));
    let later = body::inter(3, 200);
    wire.extend([0x41, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 200, 9, 0x01, 0x00, 0x00, 0x00]);
    wire.extend(&later[..128]);
    wire.extend([0xC1, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0x00]);
    wire.extend(&later[128..]);
    // A smaller chunk size with data behind it, a type-3 start with the same delta.
    wire.extend(raw(2, 0, 1, &[0, 0, 0, 100]));
    let next = body::inter(4, 200);
    wire.extend([0x81, 0xFF, 0xFF, 0, 0, 40]);
    wire.extend(&next[..100]);
    wire.extend([0xC1, 0xFF, 0xFF]);
    wire.extend(&next[100..]);
    let last = body::inter(5, 200);
    for chunk in last.chunks(100) {
        wire.extend([0xC1, 0xFF, 0xFF]);
        wire.extend(chunk);
    }
    // An aggregate of a video and an audio message; its own timestamp counts, theirs are relative.
    let (picture, tone) = (body::inter(6, 30), body::audio(7, 20));
    let aggregate = [sub_message(9, 5, &picture), sub_message(8, 25, &tone)].concat();
    let time = 1000 + 0x0100_0000 + 120;
    wire.extend(header(&[5], time, aggregate.len(), type_id::AGGREGATE));
    wire.extend(&aggregate);
    let far = 1000 + 0x0100_0000;
    let sent = vec![
        (audio, 1000, sound),
        (video, 1000, key),
        (video, far, later),
        (video, far + 40, next),
        (video, far + 80, last),
        (video, time, picture),
        (audio, time + 20, tone),
    ];
    (wire, sent)
}

#[test]
fn chunks_of_every_kind_reach_the_player_as_the_messages_they_carry() {
    for loops in ["1", "3"] {
        for step in [usize::MAX, 1, 77] {
            let server = Server::start(&["--loops", loops]);
            let mut publisher = Wire::connect(server.address());
            publisher.publish("s");
            let mut player = Wire::connect(server.address());
            player.play("s");
            // A first keyframe makes the player one that is under way.
            publisher.video(1, 900, &body::key(0, 100));
            assert_eq!(body::number(&player.media().body), 0);
            let (wire, sent) = unusual_chunks();
            for part in wire.chunks(step.min(wire.len())) {
                publisher.stream.write_all(part).unwrap();
            }
            // Audio may come a little later than its place: it rides with video.
            let of_kind = |kind| sent.iter().filter(move |sent: &&Sent| sent.0 == kind);
            let (mut video, mut audio) = (of_kind(type_id::VIDEO), of_kind(type_id::AUDIO));
            for _ in 0..sent.len() {
                let Packet { message_type, timestamp, body, .. } = player.media();
                let is_video = message_type == type_id::VIDEO;
                let expected = if is_video { video.next() } else { audio.next() };
                assert_eq!(Some(&(message_type, timestamp, body)), expected, "{loops}, {step}");
            }
        }
    }
}

#[test]
fn received_bytes_are_acknowledged_and_pings_answered() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Wire::connect(server.address());
        let msid = publisher.publish("s");
        publisher.control(type_id::WINDOW_ACK_SIZE, 20_000);
        for number in 0..5 {
            publisher.video(msid, 40, &body::key(number, 15_000));
        }
        // At half the window; the handshake and the commands count.
        let mut last = 0;
        while last < 5 * 15_000 + 3073 - 10_000 {
            let is_ack = |packet: &Packet| packet.message_type == type_id::ACKNOWLEDGEMENT;
            let total = publisher.until(is_ack).body;
            let total = u32::from_be_bytes(total.try_into().unwrap());
            assert!(total >= last + 10_000, "{total} after {last}");
            last = total;
        }
        assert!(last < 5 * 15_000 + 3073 + 2_000, "{last}");
        publisher.send(2, 0, type_id::USER_CONTROL, 0, &[0, 6, 1, 2, 3, 4]);
        publisher.event(7, 0x0102_0304);
        publisher.send(2, 0, type_id::SET_PEER_BANDWIDTH, 0, &[0, 0x10, 0, 0, 2]);
        let is_window = |packet: &Packet| packet.message_type == type_id::WINDOW_ACK_SIZE;
        assert_eq!(publisher.until(is_window).body, [0, 0x10, 0, 0]);
    }
}

#[test]
fn one_connection_publishes_two_streams_and_plays_both_at_once() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut wire = Wire::connect(server.address());
        let (a, b) = (wire.publish("a"), wire.publish("b"));
        let (play_a, play_b) = (wire.play("a"), wire.play("b"));
        assert_eq!([a, b, play_a, play_b], [1, 2, 3, 4]);
        for number in 0..3 {
            for (publisher, player) in [(a, play_a), (b, play_b)] {
                let number = number * 10 + u64::from(publisher);
                wire.video(publisher, 40, &body::key(number, 70_000));
                let frame = wire.media();
                assert_eq!((frame.msid, body::number(&frame.body)), (player, number));
            }
        }
        // The end of one leaves the other alone.
        wire.call(0, "FCUnpublish", "a");
        wire.status(a, "NetStream.Unpublish.Success");
        wire.status(play_a, "NetStream.Play.UnpublishNotify");
        wire.video(b, 80, &body::inter(99, 500));
        let frame = wire.media();
        assert_eq!((frame.msid, body::number(&frame.body)), (play_b, 99));
        wire.command(0, "deleteStream", |writer| {
            writer.null().number(f64::from(play_b));
        });
        wire.call(play_b, "play", "b");
        wire.status(play_b, "NetStream.Play.Start");
        let frame = wire.media();
        assert_eq!((frame.msid, body::number(&frame.body)), (play_b, 22), "from the keyframe on");
    }
}

#[test]
fn what_a_player_sends_is_read_for_ever() {
    // More than the kernel's buffers of both sides could hold, were nobody to read.
    const BYTES: usize = 32 << 20;
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/chatty");
        let mut player = Client::play(server.address(), "live/chatty");
        player.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let buffer_length = [2, 0, 0, 0, 0, 0, 10, 4, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 1, 0];
        let burst = buffer_length.repeat(4096);
        for _ in 0..BYTES / burst.len() {
            assert!(player.raw(&burst), "the player's input is not read");
        }
        let sent = (BYTES / burst.len() * burst.len()) as u64;
        server.stats_when("all that the player sent", |s| {
            s["total"]["bytes_in"].as_u64().unwrap() > sent
        });
        publisher.video(0, &body::key(1, 100));
        assert_eq!(body::number(&player.message().body), 1);
    }
}
