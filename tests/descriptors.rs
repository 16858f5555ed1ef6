//! A server that is out of descriptors: it serves on, does not spin, and accepts again later.
mod support;

use std::time::Duration;

use millrace::limits::ACCEPT_RETRY_MS;
use millrace::rtmp::session::ClientRole;
use rustix::process::{Resource, Rlimit, prlimit};
use support::{Client, Got, Server, body};

/// The lowest descriptor that the process has free.
fn lowest_free(server: &Server) -> u64 {
    let path = |number: u64| format!("/proc/{}/fd/{number}", server.pid().as_raw_nonzero());
    (0..).find(|&number| std::fs::symlink_metadata(path(number)).is_err()).unwrap()
}

#[test]
fn a_server_out_of_descriptors_serves_on_and_accepts_later() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let address = server.address();
        let mut publisher = Client::publish(address, "live/here");
        publisher.video(0, &body::avc_header(1));
        publisher.video(0, &body::key(0, 500));
        let mut player = Client::play(address, "live/here");
        assert!(body::is_header(&player.message().body));
        assert_eq!(body::number(&player.message().body), 0);

        let limit = Some(lowest_free(&server) + 3);
        let limit = Rlimit { current: limit, maximum: limit };
        prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
        let before = server.stats();
        // The kernel connects all of them; some are accepted.
        let clients: Vec<Client> =
            (0..12).map(|_| Client::with(address, "live", ClientRole::Idle)).collect();
        server.line(|line| line.contains("accept failed"));
        for number in 1..=50 {
            publisher.video(number as u32, &body::inter(number, 500));
            assert_eq!(body::number(&player.message().body), number);
        }
        let is_inside = |client: &mut Client| {
            client.next_within(Duration::from_millis(200)) == Some(Got::Connected)
        };
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for mut client in clients {
            let side = if is_inside(&mut client) { &mut inside } else { &mut outside };
            side.push(client);
        }
        let after = server.stats();
        let figure = |s: &serde_json::Value, name: &str| s["total"][name].as_u64().unwrap();
        let elapsed = after["at_ms"].as_u64().unwrap() - before["at_ms"].as_u64().unwrap();
        let turns = figure(&after, "turns") - figure(&before, "turns");
        // Two turns for each frame in and out, one per retry, and some for statistics: no spinning.
        assert!(turns < 300 + 3 * elapsed / ACCEPT_RETRY_MS, "{turns} turns in {elapsed} ms");

        assert!(inside.len() >= 2 && outside.len() >= 2, "{} inside", inside.len());
        drop(inside);
        for client in &mut outside[..2] {
            client.expect(&Got::Connected);
        }
    }
}
