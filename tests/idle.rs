//! Idle connections: what they cost, and that their deadline holds after publish and play.

mod support;

use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Client, Server};

/// Without pings nothing else wakes the connection.
const FLAGS: [&str; 6] =
    ["--idle-timeout", "300ms", "--ping-interval", "0", "--publisher-timeout", "0"];

/// Until every deadline from before is over.
const LONG: Duration = Duration::from_millis(1500);

#[test]
fn a_player_that_has_stopped_is_closed_by_the_idle_timeout() {
    let server = Server::start(&FLAGS);
    let mut player = Client::play(server.address(), "live/idle");
    while player.next_within(LONG).is_some() {}
    player.end();
    server.closed_for("timeout");
    player.expect_end();
}

#[test]
fn a_publisher_that_has_stopped_is_closed_by_the_idle_timeout() {
    let server = Server::start(&FLAGS);
    let mut publisher = Client::publish(server.address(), "live/idle");
    while publisher.next_within(LONG).is_some() {}
    publisher.end();
    server.closed_for("timeout");
    publisher.expect_end();
}

#[test]
fn an_idle_loop_wakes_once_a_second_at_most_and_its_connections_hold_no_ring() {
    thread::scope(|scope| {
        for loops in ["1", "3"] {
            scope.spawn(move || wakes_once_a_second_at_most(loops));
        }
    });
}

/// Forty connections that come over two seconds, so that their deadlines lie as far apart, and
/// then a time in which the deadlines pass.
fn wakes_once_a_second_at_most(loops: &str) {
    // One ring serves all of a loop's connections, one after the other.
    let server = Server::start(&["--loops", loops, "--rings", "1", "--handshake-timeout", "6"]);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..40 {
        clients.push(Client::idle(server.address()));
        assert!(clients[0].next_within(Duration::from_millis(50)).is_none());
    }
    let before = server.stats();
    assert!(clients[0].next_within(Duration::from_secs(7)).is_none(), "nothing happens");
    let after = server.stats();
    assert_eq!(after["total"]["connections"].as_u64(), Some(40));
    let at_ms = |stats: &Value| stats["at_ms"].as_u64().unwrap();
    let elapsed_ms = at_ms(&after) - at_ms(&before);
    let wakeups = |stats: &Value| -> Vec<u64> {
        let loops = stats["loops"].as_array().unwrap().iter();
        loops.map(|report| report["wakeups"].as_u64().unwrap()).collect()
    };
    for (before, after) in wakeups(&before).into_iter().zip(wakeups(&after)) {
        let woken = after - before;
        // The question for statistics is one more.
        assert!(woken <= elapsed_ms.div_ceil(1000) + 1, "{woken} times in {elapsed_ms} ms");
    }
}
