//! One timeline per stream: what a new publisher's timestamps become behind the old one's; and what
//! a loop that leaves a stream and comes back gets.
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use millrace::budget::Budget;
use millrace::media::log::GopMode;
use millrace::rtmp::Msid;
use millrace::rtmp::session::MediaKind::{self, Audio, Data, Video};
use millrace::service::StreamKey;
use millrace::service::directory::{Claim, Directory, DirectoryLimits, Takeover};
use millrace::service::live::{Live, LiveConfig, PlayAnswer, PublishAnswer};
use millrace::service::message::{LiveMessage, LoopId, Post};
use millrace::service::publisher::{ConnectionId, PublisherSetup};
use millrace::time::Millis;
use support::body;
use support::frames::limits;

const NOW: Millis = Millis(1_000);

fn key() -> StreamKey {
    StreamKey::new(b"live", b"a").unwrap()
}

fn directory() -> Directory {
    let takeover = Takeover::Always;
    let hold_ms = 10_000;
    Directory::new(DirectoryLimits {
        takeover,
        hold_ms,
        hold_always: false,
        publishers: 0,
        streams: 0,
    })
}

fn live(id: usize, budget: &Arc<Budget>) -> Live {
    let config = LiveConfig {
        log: limits(GopMode::Gop),
        flush_ms: 40,
        merge_ms: 0,
        lag_ms: 5_000,
        hold_ms: 10_000,
        wait_for_publisher: true,
        wait_ms: 30_000,
        setup: PublisherSetup { chunk_size: 60_000, budget: Arc::clone(budget) },
    };
    Live::new(LoopId(id), config)
}

fn publish(live: &mut Live, directory: &mut Directory, on: usize) -> usize {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let claim = Claim { on: LoopId(on), address, asked: NOW };
    let who = (ConnectionId::new(1, 1), Msid(1));
    match live.publish(directory, &key(), who, claim, NOW) {
        PublishAnswer::Ready(slot) => slot,
        other => panic!("{other:?}"),
    }
}

fn play(live: &mut Live, directory: &mut Directory) -> usize {
    let who = (ConnectionId::new(2, 1), Msid(1));
    match live.play(directory, &key(), who, None, NOW) {
        PlayAnswer::Accepted(slot) => slot,
        PlayAnswer::Refused(status, text) => panic!("{status:?} {text}"),
    }
}

/// The timestamps that messages of the second publisher get, after one that ended at `last`.
fn second(last: u32, messages: &[(MediaKind, u32)]) -> Vec<u32> {
    let budget = Budget::new(1 << 30);
    let (mut live, mut directory) = (live(0, &budget), directory());
    let first = publish(&mut live, &mut directory, 0);
    live.whole(first, Video, last, &body::key(0, 40), NOW).unwrap();
    live.unpublish(&mut directory, first, false, NOW);
    let slot = publish(&mut live, &mut directory, 0);
    let before = live.streams().next().unwrap().log.head();
    for &(kind, timestamp) in messages {
        match kind {
            Audio => live.whole(slot, Audio, timestamp, &body::audio(1, 40), NOW).unwrap(),
            Video => live.whole(slot, Video, timestamp, &body::key(1, 40), NOW).unwrap(),
            Data => live.data(slot, timestamp, b"\x02\0\x0aonTextData\x05", NOW).unwrap(),
        }
    }
    let log = &live.streams().next().unwrap().log;
    (before..log.head()).map(|at| log.frame(at).unwrap().timestamp()).collect()
}

#[test]
fn a_new_epoch_begins_one_millisecond_behind_the_old_one() {
    let table: [(u32, &[(MediaKind, u32)], &[u32]); 9] = [
        // One offset for audio and video.
        (5_000, &[(Audio, 0), (Video, 40), (Audio, 23)], &[5_001, 5_041, 5_024]),
        (5_000, &[(Audio, 5_000), (Video, 5_040)], &[5_001, 5_041]),
        // Audio that began before the first video waits for the old end.
        (
            5_000,
            &[(Video, 40), (Audio, 0), (Audio, 39), (Audio, 60)],
            &[5_001, 5_001, 5_001, 5_021],
        ),
        // A clock that went on while the source was away is left alone.
        (5_000, &[(Video, 9_000), (Audio, 8_990)], &[9_000, 8_990]),
        (5_000, &[(Video, 5_001)], &[5_001]),
        (5_000, &[(Video, 3_605_000)], &[3_605_000]),
        // An hour or more ahead is another clock.
        (5_000, &[(Video, 3_605_001), (Video, 3_605_041)], &[5_001, 5_041]),
        // 2^32 wraps, and what lies "ahead" by half of it does not.
        (u32::MAX, &[(Video, 0), (Video, 40)], &[0, 40]),
        (3_000_000_000, &[(Video, 0), (Audio, 20)], &[3_000_000_001, 3_000_000_021]),
    ];
    for (last, messages, expected) in table {
        assert_eq!(second(last, messages), expected, "{messages:?} after {last}");
    }
}

#[test]
fn data_before_the_first_frame_fixes_no_offset() {
    let messages = [(Data, 7), (Video, 1_000), (Data, 1_010)];
    assert_eq!(second(5_000, &messages), [5_001, 5_001, 5_011]);
}

#[test]
fn a_source_that_jumps_back_long_after_its_start_is_passed_on() {
    let messages = [(Video, 0), (Video, 20_000), (Video, 9_000), (Video, 100)];
    assert_eq!(second(5_000, &messages), [5_001, 25_001, 14_001, 5_101]);
    assert_eq!(second(50_000, &[(Video, 30_000), (Video, 0)]), [50_001, 20_001], "no wait of 30 s");
}

#[test]
fn a_first_publisher_keeps_its_timestamps() {
    let budget = Budget::new(1 << 30);
    let (mut live, mut directory) = (live(0, &budget), directory());
    let slot = publish(&mut live, &mut directory, 0);
    for timestamp in [u32::MAX, 5, 16_777_215] {
        live.whole(slot, Video, timestamp, &body::key(0, 40), NOW).unwrap();
        let log = &live.streams().next().unwrap().log;
        assert_eq!(log.frame(log.head() - 1).unwrap().timestamp(), timestamp);
    }
}

#[test]
fn players_that_come_and_go_cost_one_question_at_a_time() {
    let budget = Budget::new(1 << 30);
    let (mut owner, mut other, mut directory) = (live(0, &budget), live(1, &budget), directory());
    publish(&mut owner, &mut directory, 0);
    for _ in 0..1_000 {
        let player = play(&mut other, &mut directory);
        other.stop(&mut directory, player);
    }
    let [Post { to: LoopId(0), message: LiveMessage::Subscribe { .. } }] = other.posts.as_slice()
    else {
        panic!("{} messages", other.posts.len())
    };
    owner.handle(other.posts.remove(0).message, &mut directory, NOW);
    let snapshot = owner.posts.remove(0);
    other.handle(snapshot.message, &mut directory, NOW);
    let [Post { to: LoopId(0), message: LiveMessage::Unsubscribe { .. } }] = other.posts.as_slice()
    else {
        panic!("{:?}", other.posts)
    };
    assert_eq!(other.streams().count(), 0);
}

#[test]
fn a_loop_that_comes_back_takes_no_mail_of_its_older_subscription() {
    let budget = Budget::new(1 << 30);
    let (mut owner, mut other, mut directory) = (live(0, &budget), live(1, &budget), directory());
    // A name that this loop holds itself keeps its place here while players come and go.
    let lost = publish(&mut other, &mut directory, 1);
    other.unpublish(&mut directory, lost, false, NOW);
    let player = play(&mut other, &mut directory);
    publish(&mut owner, &mut directory, 0);
    let old = std::mem::take(&mut owner.posts);
    other.stop(&mut directory, player);
    play(&mut other, &mut directory);
    for Post { message, .. } in old {
        assert!(matches!(message, LiveMessage::Snapshot { .. }));
        other.handle(message, &mut directory, NOW);
    }
    let stream = other.streams().next().unwrap();
    let Some(Post { message: LiveMessage::Subscribe { epoch, .. }, .. }) = other.posts.last()
    else {
        panic!("{:?}", other.posts)
    };
    assert!(stream.epoch < *epoch, "the snapshot that was asked for is still to come");
}
