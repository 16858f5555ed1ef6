//! Real clients that are refused, and real clients at the server's own end: none waits in vain.
mod support;

use rustix::process::Signal;
use support::Server;
use support::clips::Clip;
use support::programs::{Player, Publisher, Scratch, until_frames, until_players};

const PLAYERS: [Player; 5] =
    [Player::Ffmpeg, Player::NewFfmpeg, Player::Rtmpdump, Player::Gstreamer, Player::Mpv];
const PUBLISHERS: [Publisher; 4] =
    [Publisher::Ffmpeg, Publisher::NewFfmpeg, Publisher::Gstreamer, Publisher::Librtmp];

/// Every player ends by itself, and says that it failed.
fn players_fail(server: &Server, path: &str, dir: &Scratch) {
    let url = server.url(path);
    for player in PLAYERS {
        let (mut program, _) = player.play(&url, &format!("{player:?}"), dir);
        assert!(!program.wait().success(), "{player:?} of {path}");
    }
}

/// Every publisher ends by itself, and says that it failed.
fn publishers_fail(server: &Server, path: &str, dir: &Scratch) {
    let (url, clip) = (server.url(path), Clip::Main.path());
    for publisher in PUBLISHERS {
        let (mut program, _) = publisher.publish(&url, &clip, dir);
        assert!(!program.wait().success(), "{publisher:?} of {path}");
    }
}

#[test]
fn players_of_a_stream_that_nobody_publishes_fail_at_once_when_asked_to() {
    let dir = Scratch::new("no-publisher");
    let server = Server::start(&["--no-publisher", "fail"]);
    players_fail(&server, "live/nobody", &dir);
}

#[test]
fn clients_of_another_application_fail() {
    let dir = Scratch::new("other-app");
    let server = Server::start(&["--app", "live"]);
    players_fail(&server, "other/stream", &dir);
    publishers_fail(&server, "other/stream", &dir);
}

#[test]
fn publishers_of_a_name_in_use_fail_and_the_stream_goes_on() {
    let dir = Scratch::new("in-use");
    let server = Server::start(&["--takeover", "never", "--loops", "3"]);
    let clip = Clip::Main.path();
    let url = server.url("live/stream");
    let first = Scratch::new("in-use-first");
    let (mut publishing, _) = Publisher::Ffmpeg.publish(&url, &clip, &first);
    until_frames(&server, 20);
    publishing.pause();
    publishers_fail(&server, "live/stream", &dir);
    publishing.resume();
    publishing.succeeds();
}

#[test]
fn sigterm_ends_publisher_and_players_in_order() {
    for loops in ["1", "3"] {
        let dir = Scratch::new(&format!("sigterm-{loops}"));
        let mut server = Server::start(&["--loops", loops]);
        let url = server.url("live/stream");
        let start = |player: Player| player.play(&url, &format!("{player:?}"), &dir);
        let playing = PLAYERS.map(start);
        until_players(&server, PLAYERS.len());
        let (mut publishing, _) = Publisher::Ffmpeg.publish(&url, &Clip::Main.path(), &dir);
        until_frames(&server, 20);
        server.signal(Signal::TERM);
        for (mut player, _) in playing {
            player.succeeds();
        }
        assert!(!publishing.wait().success(), "a publisher that was cut off says so");
        assert!(server.wait().success());
    }
}
