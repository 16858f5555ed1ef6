//! The memory budget (N8): what is charged never exceeds it, and what happens on the way there.
mod support;

use std::io::Write;
use std::sync::Arc;
use std::thread;

use millrace::budget::{Budget, Charge};
use millrace::media::frame::{Frame, FrameBuilder};
use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::session::MediaKind;
use millrace::time::Millis;
use serde_json::Value;
use support::{Client, Got, Server, body};

/// Little fixed memory: about 15 MiB of `--memory 16M` are variable.
fn small(loops: &str) -> Server {
    Server::start(&[
        "--loops",
        loops,
        "--memory",
        "16M",
        "--rings",
        "4",
        // One read of each loop and the segment it begins fit into the last 2 % of the budget.
        "--ring-bytes",
        "16K",
        "--mailbox",
        "256",
        "--max-connections",
        "200",
        "--hold",
        "1",
        "--publisher-timeout",
        "300",
        "--blocked-timeout",
        "300",
    ])
}

fn figure(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap()
}

/// Used share of the budget, and that the peak is within it.
fn percent(stats: &Value) -> u64 {
    let (used, max) = (figure(stats, "memory_used"), figure(stats, "memory_max"));
    assert!(figure(stats, "memory_peak") <= max, "more charged than the budget has");
    used * 100 / max
}

/// A publisher that has begun a message of 8 MiB, and what is left of it.
struct Hoarder {
    client: Client,
    rest: Vec<u8>,
}

impl Hoarder {
    fn new(server: &Server, name: &str) -> Self {
        let mut client = Client::publish(server.address(), &format!("live/{name}"));
        let mut bytes = client.encode(MediaKind::Video, 0, &vec![0x27; 8 << 20]);
        bytes.reverse();
        Self { client, rest: bytes }
    }

    /// Sends `count` bytes more; false when the server has closed.
    fn send(&mut self, count: usize) -> bool {
        let keep = self.rest.len() - count;
        let piece: Vec<u8> = self.rest.split_off(keep).into_iter().rev().collect();
        self.client.stream.write_all(&piece).is_ok()
    }

    /// Sends until the server's memory is used to `share` percent.
    fn fill(&mut self, server: &Server, share: u64) {
        let max = figure(&server.stats(), "memory_max");
        loop {
            let used = figure(&server.stats(), "memory_used");
            if used * 100 >= max * share {
                return;
            }
            let missing = usize::try_from(max * share / 100 - used).unwrap();
            let count = (missing / 2).clamp(4_096, 1 << 20).min(self.rest.len() - 1);
            assert!(count > 0, "a message is not long enough");
            let before = figure(&server.stats()["total"], "bytes_in");
            assert!(self.send(count), "closed at {used} of {max} bytes");
            server.stats_when("the bytes sent", |stats| {
                figure(&stats["total"], "bytes_in") >= before + count as u64
            });
        }
    }
}

#[test]
fn what_is_charged_never_exceeds_the_budget() {
    let budget = Budget::new(10_000);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut charges = [(); 4].map(|()| Charge::empty(&budget));
                for round in 0..20_000 {
                    let charge = &mut charges[round % 4];
                    let before = charge.bytes();
                    let wanted = round * 7_919 % 6_000;
                    match charge.resize(wanted) {
                        Ok(()) => assert_eq!(charge.bytes(), wanted),
                        Err(_) => assert_eq!(charge.bytes(), before, "a refusal changes nothing"),
                    }
                    assert!(budget.used() <= 10_000);
                }
            });
        }
    });
    assert_eq!(budget.used(), 0, "given back on drop");
    assert!(budget.peak() <= 10_000 && budget.peak() > 5_000, "{}", budget.peak());
}

#[test]
fn one_charge_too_large_fails_alone() {
    let budget = Budget::new(1_000);
    let mut small = Charge::empty(&budget);
    small.resize(979).unwrap();
    assert!(Charge::empty(&budget).resize(usize::MAX).is_err());
    assert!(Charge::empty(&budget).resize(22).is_err());
    assert!(!budget.is_at(98));
    small.resize(980).unwrap();
    assert!(budget.is_at(98) && !budget.is_at(99));
    drop(small);
    assert_eq!((budget.used(), budget.peak()), (0, 980));
}

/// 50 frames of a publisher whose first is a keyframe reach the player.
fn notice_nothing(publisher: &mut Client, player: &mut Client) {
    publisher.video(0, &body::key(0, 2_000));
    assert!(body::is_header(&player.message().body));
    assert_eq!(body::number(&player.message().body), 0);
    for number in 1..50 {
        publisher.video(number as u32, &body::inter(number, 2_000));
        assert_eq!(body::number(&player.message().body), number);
    }
}

fn frame(body: &[u8], budget: &Arc<Budget>) -> Arc<Frame> {
    let length = u32::try_from(body.len()).unwrap();
    let mut builder = FrameBuilder::begin(MediaKind::Video, 0, length, 60_000, budget);
    builder.append(body).unwrap();
    Arc::new(builder.finish())
}

#[test]
fn a_log_that_is_cut_gives_back_frames_and_list_but_not_its_newest_frame() {
    let budget = Budget::new(1 << 30);
    let limits = LogLimits { gop: GopMode::Gop, bytes: 1 << 30, gop_ms: 60_000, lag_ms: 60_000 };
    let mut log = StreamLog::new(limits);
    log.append(&frame(&body::key(0, 1_000), &budget), Millis(0));
    for number in 1..1_000 {
        log.append(&frame(&body::inter(number, 1_000), &budget), Millis(0));
    }
    let whole = log.cuttable_bytes();
    assert_eq!(whole, budget.used(), "every frame is charged once, and the log knows");
    let list = log.list_bytes();

    log.cut(whole);
    assert_eq!((log.cuttable_bytes(), log.gop_start()), (whole, Some(0)), "nothing to cut");
    log.cut(whole / 4);
    assert!(log.cuttable_bytes() <= whole / 4 && log.cuttable_bytes() > whole / 5);
    assert_eq!(budget.used(), log.cuttable_bytes());
    assert_eq!(log.gop_start(), None, "a GOP without its keyframe is no use");
    log.cut(0);
    assert_eq!((log.head(), log.base()), (1_000, 999), "players are just getting it");
    assert!(log.list_bytes() < list / 100, "{} of {list}", log.list_bytes());
}

#[test]
fn at_80_percent_the_largest_logs_are_cut_and_small_ones_are_not() {
    for loops in ["1", "3"] {
        let server = small(loops);
        let mut modest = Client::publish(server.address(), "live/modest");
        modest.video(0, &body::avc_header(1));
        modest.video(0, &body::key(0, 50_000));
        let mut player = Client::play(server.address(), "live/modest");
        assert!(body::is_header(&player.message().body));
        assert_eq!(body::number(&player.message().body), 0);

        let mut greedy: Vec<Client> = (0..4)
            .map(|index| Client::publish(server.address(), &format!("live/greedy{index}")))
            .collect();
        for round in 0..60 {
            for client in &mut greedy {
                let frame =
                    if round == 0 { body::key(0, 200_000) } else { body::inter(1, 200_000) };
                client.video(round, &frame);
            }
            modest.video(round, &body::inter(u64::from(round) + 1, 500));
        }
        // 48 MB of GOPs went into a budget of 15: everybody is still there, nobody lost a frame.
        let stats = server.stats_when("all frames", |stats| {
            stats["loops"].to_string().matches("\"frames_in\":60").count() == 4
                && stats["loops"].to_string().contains("\"frames_in\":62")
                && percent(stats) < 80
        });
        let all = stats["loops"].as_array().unwrap().iter();
        let streams: Vec<&Value> =
            all.flat_map(|report| report["streams"].as_array().unwrap()).collect();
        let of = |name: &str| {
            let own = streams.iter().filter(|stream| stream["publisher"].is_u64());
            let named = own.filter(|s| s["key"].as_str().unwrap().starts_with(name));
            named.map(|stream| figure(stream, "log_bytes")).sum::<u64>()
        };
        assert!(of("live/greedy") > figure(&stats, "memory_max") * 40 / 100, "not cut too far");
        assert!(of("live/modest") > 80_000, "cut to {}", of("live/modest"));
        for number in 1..=60 {
            assert_eq!(body::number(&player.message().body), number);
        }
        assert_eq!(stats["total"]["closes"]["out_of_memory"], 0);
        // Who joins the modest stream now still gets its whole GOP.
        let mut late = Client::play(server.address(), "live/modest");
        assert!(body::is_header(&late.message().body));
        assert_eq!(body::number(&late.message().body), 0);
    }
}

#[test]
fn at_95_percent_newcomers_are_refused_with_a_status() {
    for loops in ["1", "3"] {
        let server = small(loops);
        let mut publisher = Client::publish(server.address(), "live/good");
        publisher.video(0, &body::avc_header(1));
        let mut player = Client::play(server.address(), "live/good");
        let mut first = Hoarder::new(&server, "first");
        let mut second = Hoarder::new(&server, "second");
        first.fill(&server, 48);
        second.fill(&server, 95);
        let stats = server.stats();
        assert!((95..98).contains(&percent(&stats)), "{}", percent(&stats));

        let mut refused = Client::begin_publish(server.address(), "live/new");
        refused.expect(&Got::Status("NetStream.Publish.Rejected".into()));
        refused.expect_end();
        let mut refused = Client::begin_play(server.address(), "live/good");
        refused.expect(&Got::Status("NetStream.Play.Failed".into()));
        refused.expect_end();
        // Those who were there before go on.
        notice_nothing(&mut publisher, &mut player);
        // Room again: welcome again.
        drop(second);
        server.stats_when("room", |stats| percent(stats) < 60);
        drop(Client::publish(server.address(), "live/new"));
    }
}

#[test]
fn at_98_percent_the_largest_holder_of_all_loops_goes() {
    for loops in ["1", "3"] {
        let server = small(loops);
        let mut publisher = Client::publish(server.address(), "live/good");
        publisher.video(0, &body::avc_header(1));
        let mut player = Client::play(server.address(), "live/good");
        let mut larger = Hoarder::new(&server, "larger");
        let mut smaller = Hoarder::new(&server, "smaller");
        let mut last = Hoarder::new(&server, "last");
        larger.fill(&server, 45);
        smaller.fill(&server, 85);
        last.fill(&server, 96);
        // Whoever asks is not the one that goes.
        assert!(last.send(2 << 20));
        larger.client.expect_end();
        server.closed_for("out_of_memory");
        let stats = server.stats();
        assert!(percent(&stats) < 98);
        assert_eq!(stats["total"]["closes"]["out_of_memory"], 1);
        notice_nothing(&mut publisher, &mut player);
        // The others may even finish.
        let left = smaller.rest.len();
        assert!(smaller.send(left));
        let done = "\"frames_in\":1,";
        server.stats_when("the message", |stats| stats["loops"].to_string().contains(done));
    }
}

#[test]
fn everything_is_given_back_when_everybody_has_left() {
    for loops in ["1", "3"] {
        let server = small(loops);
        let before = figure(&server.stats(), "memory_used");
        assert_eq!(before, 0);
        {
            let mut publishers: Vec<Client> = (0..5)
                .map(|index| Client::publish(server.address(), &format!("live/s{index}")))
                .collect();
            for publisher in &mut publishers {
                publisher.send(MediaKind::Data, 0, &body::metadata());
                publisher.video(0, &body::avc_header(1));
                publisher.video(0, &body::key(0, 100_000));
                let half = publisher.encode(MediaKind::Video, 1, &vec![0x27; 100_000]);
                publisher.raw(&half[..50_000]);
            }
            let mut players: Vec<Client> = (0..5)
                .map(|index| Client::play(server.address(), &format!("live/s{index}")))
                .collect();
            for player in &mut players {
                player.message_of(MediaKind::Video);
            }
            let used = figure(&server.stats(), "memory_used");
            assert!(used > 5 * 150_000, "{used}");
        }
        // Streams are held for a second after their publisher was lost.
        server.stats_when("nothing charged", |stats| figure(stats, "memory_used") == 0);
    }
}
