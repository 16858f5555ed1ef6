//! Several video tracks in one stream (Enhanced RTMP v2), over real sockets.
mod support;

use support::{Client, Server, body};

/// A body of video track 1: `packet` 0 is a sequence header, 1 a frame.
fn second_track(is_key: bool, packet: u8, number: u8) -> Vec<u8> {
    let first = if is_key { 0x96 } else { 0xA6 };
    [&[first, packet][..], b"avc1", &[1, 0, 0, 0, number]].concat()
}

#[test]
fn a_joiner_starts_at_the_keyframe_of_the_main_track_not_of_another_one() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/tracks");
        publisher.video(0, &body::avc_header(1));
        publisher.video(0, &second_track(true, 0, 0));
        for gop in 0..2 {
            let at = gop * 80;
            publisher.video(at, &body::key(1, 2_000));
            publisher.video(at, &second_track(true, 1, 1));
            publisher.video(at + 40, &body::inter(2, 500));
            publisher.video(at + 40, &second_track(false, 1, 2));
        }
        server.stats_when("ten frames", |s| s["loops"].to_string().contains("\"frames_in\":10"));
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/tracks");
            assert_eq!(player.message().body, body::avc_header(1));
            assert_eq!(player.message().body, second_track(true, 0, 0));
            let key = player.message();
            assert_eq!((key.timestamp, body::number(&key.body)), (80, 1), "{loops} loops");
            assert_eq!(player.message().body, second_track(true, 1, 1));
            assert_eq!(body::number(&player.message().body), 2);
            assert_eq!(player.message().body, second_track(false, 1, 2));
        }
    }
}

#[test]
fn a_stream_without_a_main_track_starts_at_the_first_track_there_is() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/second");
        publisher.video(0, &second_track(true, 0, 0));
        publisher.video(0, &second_track(true, 1, 1));
        publisher.video(40, &second_track(false, 1, 2));
        server.stats_when("three frames", |s| s["loops"].to_string().contains("\"frames_in\":3"));
        for _ in 0..3 {
            let mut player = Client::play(server.address(), "live/second");
            assert_eq!(player.message().body, second_track(true, 0, 0));
            assert_eq!(player.message().body, second_track(true, 1, 1));
            assert_eq!(player.message().body, second_track(false, 1, 2));
        }
    }
}
