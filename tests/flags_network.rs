//! Flags of listening and of accepted sockets, as peers and the kernel see them.
mod support;

use std::io::Error;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use millrace::net::listener;
use millrace::rtmp::session::MediaKind;
use serde_json::Value;
use socket2::SockRef;
use support::{Client, Server, body, eventually, ss};

#[test]
fn listen_may_be_repeated_and_port_0_is_shown() {
    let server =
        Server::start(&["--listen", "[::]:0", "--listen", "[::1]:0", "--listen", "127.0.0.1:0"]);
    let [any, six, four] = server.addresses[..] else { panic!("{:?}", server.addresses) };
    for address in [any, six, four] {
        assert_ne!(address.port(), 0, "the real port is shown");
    }
    // IPv4 reaches [::], because it is not restricted to IPv6.
    for reachable in [
        format!("127.0.0.1:{}", any.port()),
        format!("[::1]:{}", any.port()),
        six.to_string(),
        four.to_string(),
    ] {
        Client::idle(reachable.parse().unwrap());
    }
    assert_eq!(server.total("accepted"), 4);
}

#[test]
fn everywhere_means_ipv4_where_there_is_no_ipv6() {
    let no_family = Error::from_raw_os_error(97);
    let in_use = Error::from_raw_os_error(98);
    let fallback = |address: &str, error| listener::fallback(address.parse().unwrap(), error);
    assert_eq!(fallback("[::]:1935", &no_family), Some("0.0.0.0:1935".parse().unwrap()));
    assert_eq!(fallback("[::1]:1935", &no_family), None);
    assert_eq!(fallback("[::]:1935", &in_use), None);
}

fn by_loop(stats: &Value, figure: &str) -> Vec<u64> {
    let loops = stats["loops"].as_array().unwrap();
    loops.iter().map(|report| report[figure].as_u64().unwrap()).collect()
}

/// A new connection, and the loop that has it.
fn placed(server: &Server) -> (Client, usize) {
    let before = server.lines().len();
    let client = Client::idle(server.address());
    let line = server.line_after(before, |line| line.contains(" on loop "));
    (client, line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn accept_balance_fills_the_loop_that_has_become_empty() {
    let server = Server::start(&["--loops", "3", "--accept", "balance"]);
    let clients: Vec<(Client, usize)> = (0..30).map(|_| placed(&server)).collect();
    let spread = |wanted: [u64; 3]| {
        server.stats_when("the spread", |stats| by_loop(stats, "connections") == wanted);
    };
    spread([10, 10, 10]);
    let kept: Vec<(Client, usize)> = clients.into_iter().filter(|&(_, at)| at != 1).collect();
    spread([10, 0, 10]);
    let newcomers: Vec<(Client, usize)> = (0..10).map(|_| placed(&server)).collect();
    assert!(newcomers.iter().all(|&(_, at)| at == 1), "the emptiest loop gets the next");
    spread([10, 10, 10]);
    drop((kept, newcomers));
    spread([0, 0, 0]);
    // A crowd at once: nobody waits until the others have been placed.
    let crowd: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let stats = server.stats_when("a crowd", |stats| stats["total"]["connections"] == 300);
    let placed = by_loop(&stats, "connections");
    assert!(placed.iter().all(|&at| (90..=110).contains(&at)), "a third each: {placed:?}");
    drop(crowd);
}

#[test]
fn accept_reuseport_lets_each_loop_keep_what_it_accepts() {
    for (accept, hand_over) in [("balance", true), ("reuseport", false)] {
        let server = Server::start(&["--loops", "3", "--accept", accept]);
        let _clients: Vec<Client> = (0..60).map(|_| Client::idle(server.address())).collect();
        let stats = server.stats_when("all", |stats| stats["total"]["connections"] == 60);
        let (accepted, kept) = (by_loop(&stats, "accepted"), by_loop(&stats, "connections"));
        if hand_over {
            assert_eq!((accepted, kept), (vec![60, 0, 0], vec![20, 20, 20]));
        } else {
            assert_eq!(accepted, kept, "the kernel's choice stays");
            assert!(kept.iter().all(|&at| at > 0), "and it chooses each: {kept:?}");
        }
    }
}

#[test]
fn accept_balance_spreads_and_reuseport_listens_per_loop() {
    for (accept, listeners) in [("balance", 1), ("reuseport", 3)] {
        let server = Server::start(&["--loops", "3", "--accept", accept]);
        let port = server.address().port();
        assert_eq!(ss("-ltnH", &format!("sport = :{port}")).len(), listeners, "--accept {accept}");
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..6 {
            clients.push(Client::idle(server.address()));
        }
        let stats = server.stats_when("six connections", |s| s["total"]["connections"] == 6);
        if accept == "balance" {
            assert_eq!(by_loop(&stats, "connections"), [2, 2, 2]);
        }
        let mut publisher = Client::publish(server.address(), "live/spread");
        publisher.video(0, &body::key(1, 2_000));
        for _ in 0..6 {
            let mut player = Client::play(server.address(), "live/spread");
            assert_eq!(body::number(&player.message().body), 1);
        }
    }
}

#[test]
fn backlog_is_what_the_kernel_shows() {
    let server = Server::start(&["--backlog", "77"]);
    let shown = ss("-ltnH", &format!("sport = :{}", server.address().port()));
    let send_queue = shown[0].split_whitespace().nth(2).unwrap();
    assert_eq!(send_queue, "77", "a listening socket shows its backlog there: {shown:?}");
}

#[test]
fn socket_buffers_are_what_the_kernel_shows() {
    let server = Server::start(&["--sndbuf", "100K", "--rcvbuf", "50K"]);
    let _client = Client::idle(server.address());
    let filter = format!("sport = :{}", server.address().port());
    // The kernel doubles what is asked for.
    eventually("both buffers", || {
        let shown = ss("-tnmH", &filter).join("\n");
        (shown.contains("rb102400,") && shown.contains("tb204800,")).then_some(())
    });
}

/// How long after one small frame the next one comes that is sent as soon as the first is there.
fn gaps(nodelay: &str) -> Vec<Duration> {
    let server = Server::start(&["--loops", "1", "--nodelay", nodelay]);
    let mut publisher = Client::publish(server.address(), "live/small");
    SockRef::from(&publisher.stream).set_tcp_nodelay(true).unwrap();
    publisher.video(0, &body::key(0, 100));
    let mut player = Client::play(server.address(), "live/small");
    player.message();
    let mut gaps = Vec::new();
    for round in 0..10 {
        // The player's kernel acknowledges only after some 40 ms from here on.
        SockRef::from(&player.stream).set_tcp_quickack(false).unwrap();
        let timestamp = round * 100 + 100;
        publisher.video(timestamp, &body::inter(1, 100));
        player.message_of(MediaKind::Video);
        let first = Instant::now();
        publisher.video(timestamp + 1, &body::inter(2, 100));
        player.message_of(MediaKind::Video);
        gaps.push(first.elapsed());
    }
    gaps
}

#[test]
fn nodelay_sends_small_writes_without_waiting_for_acknowledgements() {
    let waits = |gaps: &[Duration]| gaps.iter().filter(|gap| gap.as_millis() >= 25).count();
    let off = gaps("off");
    assert!(waits(&off) >= 7, "Nagle's algorithm waits for the acknowledgement: {off:?}");
    let on = gaps("on");
    assert!(waits(&on) < 10, "nothing waits for an acknowledgement: {on:?}");
}

/// Bytes that the kernel takes for a player that never reads.
fn swallowed(lowat: &str, enough: impl Fn(u64) -> bool) -> u64 {
    let server = Server::start(&[
        "--loops",
        "1",
        "--notsent-lowat",
        lowat,
        "--max-lag-ms",
        "60000",
        "--blocked-timeout",
        "0",
    ]);
    let mut publisher = Client::publish(server.address(), "live/stuck");
    let _player = Client::play(server.address(), "live/stuck");
    publisher.video(0, &body::key(0, 60_000));
    for number in 1..150 {
        publisher.video(number * 10, &body::inter(number.into(), 60_000));
    }
    let stats = server.stats_when("150 frames", |stats| {
        let stream = &stats["loops"][0]["streams"][0];
        stream["frames_in"] == 150 && enough(stream["players"][0]["bytes_out"].as_u64().unwrap())
    });
    stats["loops"][0]["streams"][0]["players"][0]["bytes_out"].as_u64().unwrap()
}

#[test]
fn notsent_lowat_bounds_what_a_stuck_player_swallows() {
    let bounded = swallowed("16K", |bytes| bytes > 0);
    assert!(bounded < 1_000_000, "{bounded} bytes with a low-water mark of 16K");
    // Without it the kernel's send buffer is filled; the wait ends when twice as much is in it.
    swallowed("0", |bytes| bytes > 2 * bounded);
}
