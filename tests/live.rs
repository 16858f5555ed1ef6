//! Publish and play over real sockets, with one loop and with three.
mod support;

use millrace::rtmp::session::MediaKind;
use support::{Client, Server, body};

const LOOPS: [&str; 2] = ["1", "3"];

#[test]
fn a_player_gets_metadata_headers_and_keyframe_first() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/join");
        publisher.send(MediaKind::Data, 0, &body::metadata());
        publisher.audio(0, &body::aac_header());
        publisher.video(0, &body::avc_header(1));
        publisher.video(40, &body::key(1, 5_000));
        publisher.audio(45, &body::audio(2, 300));
        publisher.video(80, &body::inter(3, 1_000));
        server.stats_when("five frames", |s| s["loops"].to_string().contains("\"frames_in\":5"));
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/join");
            assert_eq!(player.message().kind, MediaKind::Data);
            assert!(body::is_header(&player.message().body));
            assert!(body::is_header(&player.message().body));
            for number in 1..=3 {
                assert_eq!(body::number(&player.message().body), number);
            }
        }
    }
}
