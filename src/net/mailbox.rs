//! Mailboxes: bounded channels between loops, with wake-ups only for loops that sleep.
//!
//! INVARIANT (N13): only messages that say so may be lost. Any other one that finds a mailbox full
//! waits in the sender's queue for that destination and goes before everything newer.
//! INVARIANT: a message is never left in the mailbox of a sleeping loop. Sleeper: `sleeping` =
//! true, fence, look into the mailbox, poll. Sender: enqueue, fence, `swap(false)`, wake if true.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::limits::{CROWDED_MS_MAX, LETTERS_PENDING_MAX};
use crate::time::Millis;

/// What a mailbox carries.
pub trait Letter {
    /// Whether it may be dropped when the mailbox is full.
    fn may_be_lost(&self) -> bool;
}

/// Wakes a loop that sleeps in poll.
pub trait Wake {
    /// Makes poll return.
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        if let Err(error) = self.wake() {
            log::error!("waking a loop failed: {error}");
        }
    }
}

/// The sending end: cheap to clone, one per destination in every loop.
#[derive(Debug)]
pub struct Address<M, W> {
    sender: Sender<M>,
    sleeping: Arc<AtomicBool>,
    waker: Arc<W>,
}

impl<M, W> Clone for Address<M, W> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            sleeping: Arc::clone(&self.sleeping),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl<M, W: Wake> Address<M, W> {
    /// Enqueues without waking; the message comes back when the mailbox is full or gone.
    ///
    /// # Errors
    /// The message.
    pub fn try_send(&self, message: M) -> Result<(), M> {
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        })
    }

    fn is_crowded(&self) -> bool {
        let capacity = self.sender.capacity().unwrap_or(usize::MAX);
        self.sender.len() > capacity / 2
    }

    /// Wakes the destination if it sleeps, and says whether it did. After [`Address::try_send`].
    pub fn wake_if_asleep(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeps = self.sleeping.swap(false, Ordering::SeqCst);
        if sleeps {
            self.waker.wake();
        }
        sleeps
    }
}

/// The receiving end, owned by one loop.
#[derive(Debug)]
pub struct Mailbox<M> {
    receiver: Receiver<M>,
    sleeping: Arc<AtomicBool>,
}

/// A mailbox of `capacity` messages and its address.
pub fn mailbox<M, W: Wake>(capacity: usize, waker: Arc<W>) -> (Address<M, W>, Mailbox<M>) {
    let (sender, receiver) = bounded(capacity);
    let sleeping = Arc::new(AtomicBool::new(false));
    let address = Address { sender, sleeping: Arc::clone(&sleeping), waker };
    (address, Mailbox { receiver, sleeping })
}

impl<M> Mailbox<M> {
    /// The next message, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<M> {
        self.receiver.try_recv().ok()
    }

    /// Messages waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Announces sleep; false (and awake again) when a message is there already.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.receiver.is_empty() {
            return true;
        }
        self.awake();
        false
    }

    /// Poll has returned.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }
}

/// How long a loop waits for another one that cannot keep up.
///
/// INVARIANT: at most `CROWDED_MS_MAX` at a stretch; after that frames are lost instead.
#[derive(Debug, Default)]
pub struct Crowding {
    since: Option<Millis>,
}

impl Crowding {
    /// Whether to wait now, `is_crowded` being what [`Outbox::is_crowded`] says.
    pub fn waits(&mut self, is_crowded: bool, now: Millis) -> bool {
        if !is_crowded {
            self.since = None;
            return false;
        }
        now.since(*self.since.get_or_insert(now)) < CROWDED_MS_MAX
    }
}

#[derive(Debug)]
struct Destination<M, W> {
    address: Address<M, W>,
    pending: VecDeque<M>,
    has_mail: bool,
}

/// One loop's way to all the others.
#[derive(Debug)]
pub struct Outbox<M, W> {
    destinations: Vec<Destination<M, W>>,
    wakes_at_once: bool,
    lost: u64,
    wakes: u64,
}

impl<M: Letter, W: Wake> Outbox<M, W> {
    /// Indexed by loop. `wakes_at_once`: for each message, not for all when they are flushed.
    #[must_use]
    pub fn new(addresses: Vec<Address<M, W>>, wakes_at_once: bool) -> Self {
        let destination =
            |address| Destination { address, pending: VecDeque::new(), has_mail: false };
        let destinations = addresses.into_iter().map(destination).collect();
        Self { destinations, wakes_at_once, lost: 0, wakes: 0 }
    }

    /// Sends, queues or drops `message`.
    pub fn post(&mut self, to: usize, message: M) {
        let Some(destination) = self.destinations.get_mut(to) else { return };
        if !destination.pending.is_empty() {
            if message.may_be_lost() {
                self.lost += 1;
            } else {
                destination.pending.push_back(message);
            }
            return;
        }
        match destination.address.try_send(message) {
            Ok(()) if self.wakes_at_once => {
                self.wakes += u64::from(destination.address.wake_if_asleep());
            }
            Ok(()) => destination.has_mail = true,
            Err(message) if message.may_be_lost() => {
                self.lost += 1;
                destination.has_mail = true;
            }
            Err(message) => destination.pending.push_back(message),
        }
    }

    /// Sends if there is room and nothing waits before it, else gives the message back.
    ///
    /// # Errors
    /// The message.
    pub fn try_post(&mut self, to: usize, message: M) -> Result<(), M> {
        match self.destinations.get_mut(to) {
            Some(destination) if destination.pending.is_empty() => {
                destination.address.try_send(message)?;
                destination.has_mail = true;
                Ok(())
            }
            _ => Err(message),
        }
    }

    /// Sends what waits, wakes who has mail. Returns whether something still waits.
    pub fn flush(&mut self) -> bool {
        let mut waiting = false;
        for destination in &mut self.destinations {
            while let Some(message) = destination.pending.pop_front() {
                destination.has_mail = true;
                if let Err(message) = destination.address.try_send(message) {
                    destination.pending.push_front(message);
                    break;
                }
            }
            waiting |= !destination.pending.is_empty();
            if std::mem::take(&mut destination.has_mail) {
                self.wakes += u64::from(destination.address.wake_if_asleep());
            }
        }
        waiting
    }

    /// Whether so much waits for one loop that nothing more may be asked of it. Letters from it are
    /// still taken, so two loops that are full for each other drain each other.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.destinations.iter().any(|destination| destination.pending.len() >= LETTERS_PENDING_MAX)
    }

    /// Whether the mailbox of a loop is more than half full.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.destinations.iter().any(|destination| destination.address.is_crowded())
    }

    /// Wakes every loop that sleeps.
    pub fn wake_all(&mut self) {
        for destination in &self.destinations {
            self.wakes += u64::from(destination.address.wake_if_asleep());
        }
    }

    /// Loops that slept and were woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.wakes
    }

    /// Frames that found a mailbox full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
