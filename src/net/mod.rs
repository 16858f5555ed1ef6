//! Sockets, threads and the clock: the only layer that knows them.
//!
//! Entry point: [`server::run`]. Below it one [`event_loop::EventLoop`] per pinned thread, and the
//! main thread, which waits for signals and prints statistics ([`supervisor::Supervisor`]).

pub mod affinity;
pub mod connection;
pub mod demo;
pub mod event_loop;
pub mod listener;
pub mod log_writer;
pub mod mailbox;
pub mod out_queue;
pub mod player_slots;
pub mod ring;
pub mod server;
pub mod slots;
pub mod supervisor;
pub mod timer_wheel;
