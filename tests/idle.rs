//! A connection that has stopped to publish or to play is idle, and its deadline holds.

mod support;

use std::time::Duration;

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
