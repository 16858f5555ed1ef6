//! The Enhanced RTMP features that connect announces (`capsEx` 14: multitrack, ModEx, nanosecond
//! offsets), over real sockets: bodies pass untouched, and joiners get what they need first.
mod support;

use millrace::rtmp::session::MediaKind::{self, Audio, Video};
use support::{Client, Server};

/// A ModEx block of type 0 (nanoseconds added to the presentation time), then packet type `next`.
fn nano_offset(nanoseconds: u32, next: u8) -> Vec<u8> {
    [&[2][..], &nanoseconds.to_be_bytes()[1..], &[next]].concat()
}

/// A ModEx block of a type nobody knows, 300 bytes long, so that its size has 16 bits.
fn unknown_block(next: u8) -> Vec<u8> {
    [&[255, 0x01, 0x2B][..], &[0xEE; 300], &[0xF0 | next]].concat()
}

/// HEVC behind ModEx: `first` is 0x97 for a key, 0xA7 for an inter frame or a header.
fn hevc(first: u8, block: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    [&[first][..], &block, b"hvc1", rest].concat()
}

/// Opus behind ModEx.
fn opus(block: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    [&[0x97][..], &block, b"Opus", rest].concat()
}

/// Two video tracks of one message behind ModEx: `packet` 0 is headers, 1 frames.
fn two_tracks(first: u8, packet: u8, fill: u8) -> Vec<u8> {
    let track = |id: u8| [&[id, 0, 0, 4][..], &[0, 0, 0, fill]].concat();
    let head = [&[first][..], &nano_offset(1, 6), &[0x10 | packet], b"avc1"].concat();
    [head, track(0), track(1)].concat()
}

type Body = (MediaKind, u32, Vec<u8>);

/// Sends `bodies`; a player that is there at the first keyframe, `bodies[start]`, gets all of them,
/// three late ones get `joined`.
fn check(bodies: &[Body], start: usize, joined: &[usize]) {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/x");
        let mut watcher = Client::play(server.address(), "live/x");
        // A player joins at the newest keyframe, so that it must have seen the first one.
        for part in [&bodies[..=start], &bodies[start + 1..]] {
            for (kind, timestamp, body) in part {
                publisher.send(*kind, *timestamp, body);
            }
            for (kind, timestamp, body) in part {
                let message = watcher.message();
                assert_eq!((message.kind, &message.body), (*kind, body), "{loops} loops");
                assert_eq!(message.timestamp, *timestamp);
            }
        }
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/x");
            for &index in joined {
                let (kind, _, body) = &bodies[index];
                let message = player.message();
                assert_eq!((message.kind, &message.body), (*kind, body), "{index}, {loops} loops");
            }
        }
    }
}

#[test]
fn modex_and_nanosecond_offsets_pass_untouched_and_keyframes_are_seen_behind_them() {
    let bodies = [
        // Headers behind a long unknown block and behind a known one.
        (Audio, 0, opus(unknown_block(0), b"OpusHead")),
        (Video, 0, hevc(0x97, nano_offset(0, 0), &[1, 2, 3])),
        // The first GOP.
        (Video, 0, hevc(0x97, nano_offset(999_999, 1), &[0, 0, 40, 1])),
        (Audio, 10, opus(nano_offset(800_000, 1), &[7; 20])),
        (Video, 40, hevc(0xA7, unknown_block(1), &[0, 0, 0, 2])),
        // The second: a keyframe behind two blocks, with a composition time of 0 (type 3).
        (Video, 80, hevc(0x97, [unknown_block(7), nano_offset(5, 3)].concat(), &[3; 2_000])),
        (Audio, 90, opus(nano_offset(1, 1), &[8; 20])),
        (Video, 120, hevc(0xA7, nano_offset(999_999, 3), &[4; 500])),
    ];
    // Each header once, then from the newest keyframe on.
    check(&bodies, 2, &[0, 1, 5, 6, 7]);
}

#[test]
fn multitrack_behind_modex_passes_and_every_track_has_its_header_first() {
    let bodies = [
        (Video, 0, two_tracks(0x97, 0, 1)),
        (Video, 0, two_tracks(0x97, 1, 2)),
        (Video, 40, two_tracks(0xA7, 1, 3)),
        (Video, 80, two_tracks(0x97, 1, 4)),
        (Video, 120, two_tracks(0xA7, 1, 5)),
    ];
    check(&bodies, 1, &[0, 3, 4]);
}

#[test]
fn a_changed_header_behind_modex_replaces_the_old_one_for_joiners() {
    let bodies = [
        (Video, 0, hevc(0x97, nano_offset(0, 0), &[1])),
        (Video, 0, hevc(0x97, nano_offset(7, 1), &[0, 0, 0, 1])),
        (Video, 40, hevc(0x97, nano_offset(1, 0), &[2])),
        (Video, 40, hevc(0x97, nano_offset(7, 1), &[0, 0, 0, 2])),
    ];
    check(&bodies, 1, &[2, 3]);
}
