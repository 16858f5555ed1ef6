//! Body bytes are copied once in user space, however many players there are.
//!
//! Not counted: sequence headers, a few bytes each, that are re-stamped once per GOP and loop.

mod support;

use support::{Client, Server, body};

const PLAYERS: usize = 200;

/// Small and large frames; the large ones take several reads, rings and segments.
fn bodies() -> Vec<(u32, Vec<u8>)> {
    let mut bodies = vec![(0, body::aac_header()), (0, body::avc_header(1))];
    for number in 0..24 {
        let len = if number % 12 == 5 { 150_000 } else { 1_000 };
        let video =
            if number % 12 == 0 { body::key(number, len) } else { body::inter(number, len) };
        let timestamp = u32::try_from(number).unwrap() * 40;
        bodies.push((timestamp, video));
        bodies.push((timestamp, body::audio(number, 300)));
    }
    bodies
}

fn publish(publisher: &mut Client, bodies: &[(u32, Vec<u8>)]) {
    for (timestamp, body) in bodies {
        if body[0] == 0xAF {
            publisher.audio(*timestamp, body);
        } else {
            publisher.video(*timestamp, body);
        }
    }
}

#[test]
fn copied_bytes_equal_the_ingested_ones_with_two_hundred_players() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/copies");
        let play = |_| Client::play(server.address(), "live/copies");
        let mut players: Vec<Client> = (0..PLAYERS).map(play).collect();
        let bodies = bodies();
        // Once every loop follows the stream nobody begins at a later keyframe.
        let (begin, rest) = bodies.split_at(4);
        for part in [begin, rest] {
            publish(&mut publisher, part);
            for player in &mut players {
                for (_, body) in part {
                    assert!(player.message().body == *body, "every player gets every body");
                }
            }
        }
        let ingested: usize = bodies.iter().map(|(_, body)| body.len()).sum();
        assert_eq!(server.total("payload_bytes_copied"), ingested as u64, "{loops} loops");
        // Whoever joins late shares them too.
        let mut late = Client::play(server.address(), "live/copies");
        assert!(body::is_header(&late.message().body));
        let copied = server.total("payload_bytes_copied");
        assert_eq!(copied, ingested as u64, "{loops} loops, a late player");
    }
}
