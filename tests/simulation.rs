//! Seeded simulation of live streams: directory, loops, mailboxes down to capacity 1, takeover,
//! hold.
//!
//! Every seed is one history: publishers come, are lost, leave, take over from the same or another
//! loop and address; players join anywhere and read as much as they like; mail is slow or finds
//! mailboxes full. After each step the invariants are checked: what a player gets is whole messages
//! in order with current headers, a gap ends on a resume point (N3), no frame of an older epoch and
//! no zombie (N10), no control message lost (N13), one timeline across epochs.
//!
//! `MILLRACE_SEED=n` runs one seed, `MILLRACE_SEEDS=n` that many.

#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/source.rs"]
mod source;
mod support;
#[path = "simulation/viewer.rs"]
mod viewer;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::{State, World};

const SEEDS: u64 = 2_000;
const STEPS: usize = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_history_keeps_the_invariants() {
    if let Some(seed) = number("MILLRACE_SEED") {
        return run(seed);
    }
    let seeds = number("MILLRACE_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("seed {seed} failed; replay it with:");
            eprintln!("MILLRACE_SEED={seed} cargo test --test simulation");
            resume_unwind(panic);
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        step(&mut world);
        world.invariants();
    }
    come_to_rest(&mut world);
    everybody_gets_the_newest_frame(&mut world);
    everybody_leaves(&mut world);
}

fn step(world: &mut World) {
    match world.rng.below(100) {
        0..4 => world.add_publisher(),
        4..10 => world.add_viewer(),
        10..14 if !world.viewers.is_empty() => {
            let at = world.rng.below(world.viewers.len());
            world.remove_viewer(at);
        }
        14..17 if !world.publishers.is_empty() => {
            let (at, unpublished) = (any_publisher(world), world.rng.chance(50));
            world.leave(at, unpublished);
        }
        17..22 => {
            let ms = world.rng.pick(&[1, 5, 20, 40, 200, 1_000, 2_500, 10_100]);
            world.now = world.now.plus(ms);
        }
        22..27 => ask_again(world),
        27..55 if !world.publishers.is_empty() => {
            let at = any_publisher(world);
            for _ in 0..1 + world.rng.below(6) {
                world.emit(at, false);
            }
        }
        55..75 if !world.viewers.is_empty() => {
            let at = world.rng.below(world.viewers.len());
            let room = world.rng.pick(&[1, 30, 500, 5_000, 1_000_000]);
            world.read(at, room);
        }
        75..77 => {
            let on = world.rng.below(world.loops());
            world.cut_logs(on);
        }
        _ => {
            let on = world.rng.below(world.loops());
            let mail = world.rng.pick(&[0, 1, 2, 100]);
            world.turn(on, mail);
        }
    }
}

/// One that sends if there is one, mostly.
fn any_publisher(world: &mut World) -> usize {
    let ready: Vec<usize> = (0..world.keys).filter_map(|key| world.current(key)).collect();
    if ready.is_empty() || world.rng.chance(20) {
        return world.rng.below(world.publishers.len());
    }
    world.rng.pick(&ready)
}

fn ask_again(world: &mut World) {
    for at in 0..world.publishers.len() {
        if world.publishers[at].state == State::Waits {
            world.ask(at);
        }
    }
}

/// No mail under way, no publish undecided.
fn come_to_rest(world: &mut World) {
    for _ in 0..4 {
        world.settle_all();
        ask_again(world);
        world.now = world.now.plus(2_600);
    }
    world.settle_all();
    world.invariants();
    for publisher in &world.publishers {
        let settled = matches!(publisher.state, State::Ready(_) | State::Gone);
        assert!(settled, "a publish was never answered: {:?}", publisher.state);
    }
}

/// Where somebody publishes, every player gets what is sent from now on.
fn everybody_gets_the_newest_frame(world: &mut World) {
    for key in 0..world.keys {
        let Some(at) = world.current(key) else { continue };
        for _ in 0..6 {
            let resume = !world.is_running(at);
            world.emit(at, resume);
            world.settle_all();
        }
        while !world.is_running(at) {
            world.emit(at, true);
            world.settle_all();
        }
        world.emit(at, true);
        world.settle_all();
        let newest = world.newest_place(at);
        for viewer in 0..world.viewers.len() {
            if world.viewers[viewer].key != key {
                continue;
            }
            world.read(viewer, 1 << 30);
            if world.is_over(viewer) {
                continue;
            }
            assert!(!world.waits(viewer), "a player waits although somebody publishes");
            let got = (world.viewers[viewer].serial, world.viewers[viewer].last_place);
            assert_eq!(got, newest, "{:?}\n{}", world.viewers[viewer], world.describe());
        }
    }
}

fn everybody_leaves(world: &mut World) {
    for at in 0..world.publishers.len() {
        let unpublished = world.rng.chance(50);
        world.leave(at, unpublished);
    }
    world.settle_all();
    world.now = world.now.plus(world.hold_ms());
    world.settle_all();
    for viewer in 0..world.viewers.len() {
        world.read(viewer, 1 << 30);
        assert!(world.waits(viewer) || world.is_over(viewer), "a player of nothing was not told");
    }
    while let Some(last) = world.viewers.len().checked_sub(1) {
        world.remove_viewer(last);
    }
    world.settle_all();
    world.now = world.now.plus(60_000);
    world.settle_all();
    world.assert_empty();
}
