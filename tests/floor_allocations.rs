//! Allocations of the floor's loop: none per player and frame.
//!
//! The floor runs in this process, compiled from its source; a counting allocator counts what its
//! thread allocates.
mod support;

#[allow(dead_code, reason = "the load's modes take more from their flags")]
#[path = "../src/bin/millrace-load/flags.rs"]
mod flags;
#[path = "../src/bin/millrace-load/floor/mod.rs"]
mod floor;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use floor::{Floor, Options};
use support::{Client, body};

/// With their audio more than the ring has, so that every buffer is used again.
const WARM: u64 = 600;
const FRAMES: u64 = 400;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Set by the floor's thread.
    static IS_FLOOR: Cell<bool> = const { Cell::new(false) };
}

/// Zeroed and grown memory comes from `alloc` too, as the trait provides it.
struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(usize::from(IS_FLOOR.get()), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a floor allocates until `players` players have got [`WARM`] frames of video and as many of
/// audio, and while they get [`FRAMES`] more.
fn allocations(policy: &str, players: usize) -> (usize, usize) {
    let before = ALLOCATIONS.load(Relaxed);
    let args = ["--listen", "127.0.0.1:0", "--merge-ms", "1", "--policy", policy];
    let args = args.map(String::from);
    let floor = Floor::new(Options::parse(&args).unwrap().unwrap()).unwrap();
    let address = floor.address().unwrap();
    std::thread::spawn(move || {
        IS_FLOOR.set(true);
        floor::run(floor)
    });
    let mut publisher = Client::publish(address, "live/floor");
    publisher.stream.set_nodelay(true).unwrap();
    publisher.video(0, &body::avc_header(1));
    publisher.audio(0, &body::aac_header());
    let mut players: Vec<Client> =
        (0..players).map(|_| Client::play(address, "live/floor")).collect();
    let mut send = |number: u64| {
        let make = if number.is_multiple_of(100) { body::key } else { body::inter };
        let timestamp = u32::try_from(number * 33).unwrap();
        publisher.video(timestamp, &make(number, 1_000));
        publisher.audio(timestamp, &body::audio(number, 100));
        for player in &mut players {
            for _ in ["video", "audio"] {
                let mut message = player.message();
                while body::is_header(&message.body) {
                    message = player.message();
                }
                assert_eq!(body::number(&message.body), number);
            }
        }
    };
    let start = ALLOCATIONS.load(Relaxed) - before;
    (0..WARM).for_each(&mut send);
    let warm = ALLOCATIONS.load(Relaxed);
    (WARM..WARM + FRAMES).for_each(&mut send);
    (start, ALLOCATIONS.load(Relaxed) - warm)
}

#[test]
fn the_floor_allocates_nothing_per_frame_for_2_and_for_50_players() {
    for (policy, players) in [("each", 2), ("each", 50), ("merge", 2)] {
        let (start, count) = allocations(policy, players);
        assert!(start > players, "the counter counts: each session is an allocation at least");
        assert_eq!(count, 0, "{policy}: {FRAMES} frames of video and audio, {players} players");
    }
}
