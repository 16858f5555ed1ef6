//! Streams that are over before the loop has written to a player.
mod support;

use millrace::rtmp::session::MediaKind;
use support::{Client, Got, Server, body};

#[test]
fn a_waiting_player_gets_a_stream_that_comes_and_ends_in_one_segment() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut players: Vec<_> =
            (0..3).map(|_| Client::play(server.address(), "live/short")).collect();
        let mut publisher = Client::publish(server.address(), "live/short");
        let bodies = [body::avc_header(1), body::key(1, 400), body::inter(2, 100)];
        let mut bytes = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            bytes.extend(publisher.encode(MediaKind::Video, index as u32 * 40, body));
        }
        bytes.extend(publisher.encode_end());
        assert!(publisher.raw(&bytes));
        for player in &mut players {
            for wanted in &bodies {
                assert_eq!(player.message().body, *wanted, "{loops} loops");
            }
            player.expect(&Got::StreamEof);
        }
    }
}
