//! Every transition of the stream directory.

use std::net::{IpAddr, Ipv4Addr};

use millrace::service::StreamKey;
use millrace::service::directory::{
    Claim, Directory, DirectoryLimits, Feed, Granted, PublishOutcome, Takeover, is_after,
};
use millrace::service::message::{
    Ending, Epoch, LiveMessage, LoopId, Post, Subscriber, SubscriptionId,
};
use millrace::time::Millis;

const HOLD_MS: u64 = 10_000;

fn directory(takeover: Takeover) -> Directory {
    Directory::new(limits(takeover))
}

fn limits(takeover: Takeover) -> DirectoryLimits {
    DirectoryLimits { takeover, hold_ms: HOLD_MS, hold_always: false, publishers: 0, streams: 0 }
}

fn key(name: &str) -> StreamKey {
    StreamKey::new(b"live", name.as_bytes()).unwrap()
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// A claim of loop `on` from 10.0.0.`from`, first made at `asked`.
fn claim(on: usize, from: u8, asked: u64) -> Claim {
    Claim { on: LoopId(on), address: address(from), asked: Millis(asked) }
}

fn subscriber(on: usize, generation: u64) -> Subscriber {
    Subscriber { on: LoopId(on), id: SubscriptionId { slot: 0, generation } }
}

fn granted(outcome: PublishOutcome) -> Granted {
    match outcome {
        PublishOutcome::Granted(granted) => granted,
        other => panic!("not granted: {other:?}"),
    }
}

/// The outcome in a word.
fn word(outcome: &PublishOutcome) -> &'static str {
    match outcome {
        PublishOutcome::Granted(_) => "granted",
        PublishOutcome::Wait => "wait",
        PublishOutcome::InUse => "in use",
        PublishOutcome::Full => "full",
    }
}

/// Destination, and for endings how.
fn endings(posts: &[Post]) -> Vec<(usize, Epoch, Ending)> {
    let ending = |post: &Post| match post.message {
        LiveMessage::Ended { epoch, ending, .. } => (post.to.0, epoch, ending),
        ref other => panic!("not an ending: {other:?}"),
    };
    posts.iter().map(ending).collect()
}

#[test]
fn a_busy_name_is_given_away_by_rule_address_and_silence() {
    use Takeover::{Always, Idle, Never};
    // Rule, from the same address?, silent for ms, asked ms ago -> outcome.
    let table = [
        (Always, true, 0, 0, "granted"),
        (Always, false, 0, 0, "granted"),
        (Never, true, 0, 0, "in use"),
        (Never, false, 60_000, 60_000, "in use"),
        (Idle, true, 0, 0, "granted"),
        (Idle, false, 0, 0, "wait"),
        (Idle, false, 0, 2_499, "wait"),
        (Idle, false, 0, 2_500, "in use"),
        (Idle, false, 1_999, 1_999, "wait"),
        (Idle, false, 2_000, 0, "granted"),
        (Idle, false, 2_000, 2_499, "granted"),
        (Idle, false, 1_999, 2_500, "in use"),
    ];
    for (rule, same, silent, waited, expected) in table {
        let mut directory = directory(rule);
        let now = Millis(100_000);
        let old = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
        old.activity.record(0, Millis(now.0 - silent));
        let from = if same { 1 } else { 2 };
        let outcome = directory.publish(&key("a"), claim(1, from, now.0 - waited), now);
        assert_eq!(word(&outcome), expected, "{rule:?} {same} {silent} {waited}");
        assert_eq!(directory.publishers(), 1);
    }
}

#[test]
fn two_encoders_behind_one_address_do_not_play_ping_pong() {
    // The time since the last takeover, whether the current publisher sends -> outcome.
    let table = [
        (0, true, "in use"),
        (9_999, true, "in use"),
        (10_000, true, "granted"),
        (2_000, false, "granted"),
    ];
    for (since, sends, expected) in table {
        let mut directory = directory(Takeover::Idle);
        granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
        let second = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(1_000)));
        let now = Millis(1_000 + since);
        if sends {
            second.activity.record(0, now);
        }
        let outcome = directory.publish(&key("a"), claim(0, 1, now.0), now);
        assert_eq!(word(&outcome), expected, "{since} ms after the takeover");
    }
}

#[test]
fn the_first_publisher_is_not_safe_from_its_own_address() {
    let mut directory = directory(Takeover::Idle);
    granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    assert_eq!(word(&directory.publish(&key("a"), claim(0, 1, 1), Millis(1))), "granted");
}

#[test]
fn a_takeover_evicts_the_old_owner_and_waits_for_it() {
    let mut directory = directory(Takeover::Always);
    let first = granted(directory.publish(&key("a"), claim(2, 1, 0), Millis(0)));
    assert!(!first.await_handover && first.posts.is_empty());
    directory.subscribe(&key("a"), subscriber(1, 7)).unwrap();
    let second = granted(directory.publish(&key("a"), claim(0, 2, 0), Millis(0)));
    assert!(second.await_handover && second.epoch > first.epoch);
    assert_eq!(second.subscribers, [subscriber(1, 7)]);
    let [Post { to: LoopId(2), message }] = second.posts.as_slice() else {
        panic!("{:?}", second.posts)
    };
    let LiveMessage::Evict { epoch, successor, successor_epoch, .. } = message else {
        panic!("{message:?}")
    };
    assert_eq!((*epoch, *successor, *successor_epoch), (first.epoch, LoopId(0), second.epoch));
}

#[test]
fn a_stale_release_does_nothing() {
    let mut directory = directory(Takeover::Always);
    let first = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    let second = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(0)));
    assert!(directory.release(&key("a"), first.epoch, true).is_none());
    assert_eq!(directory.publishers(), 1);
    assert!(directory.release(&key("a"), second.epoch, true).is_some());
    assert!(directory.release(&key("a"), second.epoch, true).is_none());
    assert!(directory.release(&key("b"), second.epoch, true).is_none());
    assert_eq!((directory.publishers(), directory.streams()), (0, 0));
}

#[test]
fn lost_publishers_are_held_explicit_ends_are_final() {
    // hold_ms, hold_always, unpublished -> ending.
    let table = [
        (HOLD_MS, false, false, Ending::Held),
        (HOLD_MS, false, true, Ending::Final),
        (HOLD_MS, true, true, Ending::Held),
        (0, false, false, Ending::Final),
        (0, true, true, Ending::Final),
    ];
    for (hold_ms, hold_always, unpublished, expected) in table {
        let limits = DirectoryLimits { hold_ms, hold_always, ..limits(Takeover::Idle) };
        let mut directory = Directory::new(limits);
        let epoch = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0))).epoch;
        directory.subscribe(&key("a"), subscriber(0, 1)).unwrap();
        directory.subscribe(&key("a"), subscriber(3, 1)).unwrap();
        let released = directory.release(&key("a"), epoch, unpublished).unwrap();
        assert_eq!(released.ending, expected);
        assert_eq!(endings(&released.posts), [(0, epoch, expected), (3, epoch, expected)]);
        assert_eq!(directory.publishers(), 0);
    }
}

#[test]
fn a_hold_ends_once_and_only_for_its_own_epoch() {
    let mut directory = directory(Takeover::Idle);
    let first = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0))).epoch;
    directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    directory.release(&key("a"), first, false).unwrap();
    let second = granted(directory.publish(&key("a"), claim(2, 2, 0), Millis(0)));
    assert!(!second.await_handover, "nobody is there to hand over");
    assert!(directory.hold_expired(&key("a"), first).is_empty(), "it came back");
    directory.release(&key("a"), second.epoch, false).unwrap();
    assert!(directory.hold_expired(&key("a"), first).is_empty(), "another hold");
    let posts = directory.hold_expired(&key("a"), second.epoch);
    assert_eq!(endings(&posts), [(1, second.epoch, Ending::Final)]);
    assert!(directory.hold_expired(&key("a"), second.epoch).is_empty());
}

#[test]
fn the_timeline_goes_on_through_takeover_hold_and_waiting_players() {
    let mut directory = directory(Takeover::Always);
    let first = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    assert_eq!(first.activity.greatest(), None);
    first.activity.record(5_000, Millis(1));
    first.activity.record(4_000, Millis(1));
    let second = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(1)));
    first.activity.record(5_040, Millis(2));
    assert_eq!(second.activity.greatest(), Some(5_040), "until the old one has stopped");
    directory.release(&key("a"), second.epoch, false).unwrap();
    let third = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(1)));
    assert_eq!(third.activity.greatest(), Some(5_040));
    directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    directory.release(&key("a"), third.epoch, true).unwrap();
    let fourth = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(1)));
    assert_eq!(fourth.activity.greatest(), Some(5_040), "its players may not know of the end");
    directory.unsubscribe(&key("a"), LoopId(1), subscriber(1, 1).id);
    directory.release(&key("a"), fourth.epoch, true).unwrap();
    let fifth = granted(directory.publish(&key("a"), claim(1, 1, 0), Millis(1)));
    assert_eq!(fifth.activity.greatest(), None, "nobody has seen anything");
}

#[test]
fn timestamps_are_compared_in_serial_order() {
    let table = [
        (1, 0, true),
        (0, 0, false),
        (0, 1, false),
        (0, u32::MAX, true),
        (u32::MAX, 0, false),
        (0x7FFF_FFFF, 0, true),
        (0x8000_0000, 0, false),
    ];
    for (a, b, expected) in table {
        assert_eq!(is_after(a, b), expected, "{a:#x} after {b:#x}");
    }
}

#[test]
fn the_greatest_timestamp_wraps() {
    let mut directory = directory(Takeover::Idle);
    let granted = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    granted.activity.record(u32::MAX, Millis(0));
    assert_eq!(granted.activity.greatest(), Some(u32::MAX));
    granted.activity.record(20, Millis(0));
    assert_eq!(granted.activity.greatest(), Some(20));
}

#[test]
fn play_tells_what_is_true_and_the_owner_is_asked_once() {
    let mut directory = directory(Takeover::Idle);
    let idle = directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    assert_eq!((idle.feed, idle.since, idle.post.is_none()), (Feed::Idle, Epoch(0), true));
    let epoch = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0))).epoch;
    let known = directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    assert_eq!((known.feed, known.since), (Feed::Live, Epoch(epoch.0 - 1)));
    assert!(known.post.is_none(), "the owner has this loop in its list");
    let new = directory.subscribe(&key("a"), subscriber(2, 1)).unwrap();
    let Some(Post { to: LoopId(0), message: LiveMessage::Subscribe { subscriber: who, .. } }) =
        new.post
    else {
        panic!("{new:?}")
    };
    assert_eq!(who, subscriber(2, 1));
    directory.release(&key("a"), epoch, false).unwrap();
    let held = directory.subscribe(&key("a"), subscriber(2, 1)).unwrap();
    assert_eq!((held.feed, held.since), (Feed::Held, Epoch(epoch.0 - 1)));
    directory.hold_expired(&key("a"), epoch);
    let over = directory.subscribe(&key("a"), subscriber(2, 1)).unwrap();
    assert_eq!((over.feed, over.since), (Feed::Idle, epoch));
}

#[test]
fn a_newer_subscription_of_a_loop_replaces_its_older_one() {
    let mut directory = directory(Takeover::Idle);
    directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    directory.subscribe(&key("a"), subscriber(1, 2)).unwrap();
    directory.unsubscribe(&key("a"), LoopId(1), subscriber(1, 1).id);
    assert_eq!(directory.streams(), 1, "a stale leave does nothing");
    let granted = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    assert_eq!(granted.subscribers, [subscriber(1, 2)]);
}

#[test]
fn the_last_to_leave_takes_the_entry_along() {
    let mut directory = directory(Takeover::Idle);
    directory.subscribe(&key("a"), subscriber(1, 1)).unwrap();
    assert_eq!(directory.streams(), 1);
    assert!(directory.unsubscribe(&key("a"), LoopId(1), subscriber(1, 1).id).is_empty());
    assert_eq!(directory.streams(), 0);
    let epoch = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0))).epoch;
    directory.subscribe(&key("a"), subscriber(1, 2)).unwrap();
    let posts = directory.unsubscribe(&key("a"), LoopId(1), subscriber(1, 2).id);
    assert!(matches!(
        posts.as_slice(),
        [Post { to: LoopId(0), message: LiveMessage::Unsubscribe { .. } }]
    ));
    directory.release(&key("a"), epoch, false).unwrap();
    assert_eq!(directory.streams(), 1, "held");
    assert!(directory.hold_expired(&key("a"), epoch).is_empty());
    assert_eq!(directory.streams(), 0);
    assert!(directory.unsubscribe(&key("a"), LoopId(1), subscriber(1, 2).id).is_empty());
}

#[test]
fn publishers_and_streams_are_limited() {
    let caps = DirectoryLimits { publishers: 1, streams: 2, ..limits(Takeover::Always) };
    let mut directory = Directory::new(caps);
    let first = granted(directory.publish(&key("a"), claim(0, 1, 0), Millis(0)));
    assert_eq!(word(&directory.publish(&key("b"), claim(0, 1, 0), Millis(0))), "full");
    assert_eq!(word(&directory.publish(&key("a"), claim(1, 1, 0), Millis(0))), "granted");
    assert!(directory.release(&key("a"), first.epoch, true).is_none());
    directory.subscribe(&key("b"), subscriber(0, 1)).unwrap();
    assert!(directory.subscribe(&key("c"), subscriber(0, 1)).is_none());
    assert!(directory.subscribe(&key("a"), subscriber(0, 1)).is_some(), "a known name");
    let caps = DirectoryLimits { publishers: 9, streams: 1, ..limits(Takeover::Idle) };
    let mut directory = Directory::new(caps);
    directory.subscribe(&key("a"), subscriber(0, 1)).unwrap();
    assert_eq!(word(&directory.publish(&key("b"), claim(0, 1, 0), Millis(0))), "full");
    assert_eq!(word(&directory.publish(&key("a"), claim(0, 1, 0), Millis(0))), "granted");
}

#[test]
fn every_publish_of_any_name_has_an_epoch_of_its_own() {
    let mut directory = directory(Takeover::Always);
    let names = ["a", "b", "a", "c", "a"];
    let publish =
        |name: &&str| granted(directory.publish(&key(name), claim(0, 1, 0), Millis(0))).epoch.0;
    let epochs: Vec<u64> = names.iter().map(publish).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
}
