//! Real clients publish and play, with one loop and with three: what comes out is what went in,
//! packet by packet, from the keyframe on at which the player joined.
//!
//! `MILLRACE_CLIP_SECONDS` makes the clips longer (`scripts/prove-clients.sh`); every comparison
//! prints a line that begins with `row `.
mod support;

use std::thread;

use support::clips::Clip;
use support::flv::{Recording, compare};
use support::programs::{Player, Publisher, Scratch, until_frames, until_players};
use support::{Server, programs};

/// Players join here: in the second GOP.
const JOIN_MS: u32 = 1_300;

/// Runs one row with each number of loops.
fn row(name: &'static str, publisher: Publisher, clip: Clip, players: &[Player]) {
    thread::scope(|scope| {
        for loops in ["1", "3"] {
            scope.spawn(move || row_with(loops, name, publisher, clip, players));
        }
    });
}

fn row_with(loops: &str, name: &str, publisher: Publisher, clip: Clip, players: &[Player]) {
    let dir = Scratch::new(&format!("{name}-{loops}"));
    let clip = clip.path();
    let source = Recording::read(&clip);
    // GStreamer's sinks end without a command: players would be held for longer. The publisher
    // catches up in a burst after its pause, and on a busy machine players are slow: a skip is not
    // what is compared here.
    let flags = ["--hold", "500ms", "--max-lag-ms", "300000", "--gop-bytes", "1G"];
    let server = Server::start(&[&["--loops", loops], &flags[..]].concat());
    let url = server.url(&format!("live/{name}"));
    let (mut publishing, sent) = publisher.publish(&url, &clip, &dir);
    until_frames(&server, source.frames_before(JOIN_MS));
    publishing.pause();
    let playing: Vec<_> = players
        .iter()
        .map(|player| (*player, player.play(&url, &format!("{player:?}"), &dir)))
        .collect();
    until_players(&server, players.len());
    publishing.resume();
    publishing.succeeds();
    let sent = Recording::read(&sent);
    assert_eq!(sent.len(), source.len(), "the publisher sends another number of frames");
    for (player, (mut program, file)) in playing {
        program.succeeds();
        let compared = compare(&sent, &Recording::read(&file), player.lost_at_end())
            .unwrap_or_else(|error| panic!("{name}, {loops} loops, {player:?}: {error}"));
        assert!(compared.from_ms >= 900, "the join is not in the second GOP: {compared:?}");
        assert!(compared.length_ms >= 900, "that is less than a GOP: {compared:?}");
        println!(
            "row {name} | {loops} | {publisher:?} | {player:?} | {} | {} | {}.{:03} | {}",
            compared.video,
            compared.audio,
            compared.length_ms / 1_000,
            compared.length_ms % 1_000,
            compared.offset_ms,
        );
    }
    assert_eq!(server.total("skips"), 0, "players were moved forward");
}

#[test]
fn the_clients_of_the_tests_are_installed() {
    for name in ["ffmpeg", "rtmpdump", "gst-launch-1.0", "mpv"] {
        programs::program(name);
    }
    programs::new_ffmpeg();
}

#[test]
fn ffmpeg_publishes_h264_with_b_frames_and_aac_to_every_player() {
    row("b-frames", Publisher::Ffmpeg, Clip::Main, &Player::ALL);
}

#[test]
fn the_newer_ffmpeg_publishes_h264_and_aac_to_every_player() {
    row("new-ffmpeg", Publisher::NewFfmpeg, Clip::Main, &Player::ALL);
}

#[test]
fn rtmp2sink_publishes_h264_and_aac_to_every_player() {
    row("rtmp2sink", Publisher::Gstreamer, Clip::Main, &Player::ALL);
}

#[test]
fn rtmpsink_publishes_h264_and_aac_to_every_player() {
    row("rtmpsink", Publisher::Librtmp, Clip::Main, &Player::ALL);
}

#[test]
fn mp3_reaches_every_player() {
    row("mp3", Publisher::Ffmpeg, Clip::Mp3, &Player::ALL);
}

#[test]
fn a_stream_of_audio_alone_reaches_every_player() {
    row("audio-only", Publisher::Ffmpeg, Clip::AudioOnly, &Player::ALL);
}

#[test]
fn a_stream_of_video_alone_reaches_every_player() {
    row("video-only", Publisher::Ffmpeg, Clip::VideoOnly, &Player::ALL);
}

#[test]
fn hevc_reaches_every_player_of_enhanced_rtmp() {
    row("hevc", Publisher::NewFfmpeg, Clip::Hevc, &Player::ENHANCED);
}

#[test]
fn av1_and_opus_reach_every_player_of_enhanced_rtmp() {
    row("av1-opus", Publisher::NewFfmpeg, Clip::Av1Opus, &Player::ENHANCED);
}

#[test]
fn ac3_reaches_every_player_of_enhanced_rtmp() {
    row("ac3", Publisher::NewFfmpeg, Clip::Ac3, &Player::ENHANCED);
}

#[test]
fn several_tracks_reach_every_player_of_enhanced_rtmp() {
    row("tracks", Publisher::NewFfmpeg, Clip::Tracks, &Player::ENHANCED);
}

#[test]
fn twenty_megabits_of_1080p60_reach_every_player() {
    row("1080p60", Publisher::Ffmpeg, Clip::Heavy, &Player::ALL);
}
