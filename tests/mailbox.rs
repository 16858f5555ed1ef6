//! Mailboxes: what may be lost and what may not, order, and that no sleeper misses its mail.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use millrace::limits::{CROWDED_MS_MAX, LETTERS_PENDING_MAX};
use millrace::net::mailbox::{Crowding, Letter, Outbox, Wake, mailbox};
use millrace::time::Millis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mail {
    Control(u32),
    Frame(u32),
}

impl Letter for Mail {
    fn may_be_lost(&self) -> bool {
        matches!(self, Self::Frame(_))
    }
}

/// As an eventfd: a wake-up that comes before the sleep ends it.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<u32>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

impl Bell {
    /// False when nobody rang in time.
    fn sleep(&self) -> bool {
        let rung = self.rung.lock().unwrap();
        let patience = Duration::from_secs(20);
        let quiet = |rung: &mut u32| *rung == 0;
        let (mut rung, timeout) = self.changed.wait_timeout_while(rung, patience, quiet).unwrap();
        *rung = 0;
        !timeout.timed_out()
    }
}

#[test]
fn control_is_never_lost_and_keeps_its_order_in_a_mailbox_of_one() {
    let (address, inbox) = mailbox::<Mail, Bell>(1, Arc::new(Bell::default()));
    let mut outbox = Outbox::new(vec![address], false);
    let mut got = Vec::new();
    for number in 0..1_000 {
        outbox.post(0, Mail::Control(number));
        outbox.post(0, Mail::Frame(number));
        if number % 7 == 0 {
            got.extend(inbox.take());
            outbox.flush();
        }
    }
    while outbox.flush() || !inbox.is_empty() {
        got.extend(inbox.take());
    }
    let number = |mail: &Mail| match *mail {
        Mail::Control(number) | Mail::Frame(number) => number,
    };
    assert!(got.is_sorted_by_key(number), "mail was overtaken");
    let control = got.iter().filter(|mail| !mail.may_be_lost());
    assert!(control.map(number).eq(0..1_000), "control was lost");
    let frames = got.iter().filter(|mail| mail.may_be_lost()).count() as u64;
    assert_eq!(outbox.lost() + frames, 1_000);
    assert!(outbox.lost() > 0);
}

#[test]
fn two_loops_full_for_each_other_read_nothing_and_drain() {
    let ends = || mailbox::<Mail, Bell>(1, Arc::new(Bell::default()));
    let ((to_a, at_a), (to_b, at_b)) = (ends(), ends());
    let mut loops =
        [(Outbox::new(vec![to_b], false), at_a), (Outbox::new(vec![to_a], false), at_b)];
    for (outbox, _) in &mut loops {
        // One is in the mailbox; the next ones wait.
        for number in 0..=LETTERS_PENDING_MAX {
            assert!(!outbox.is_full(), "{number}");
            outbox.post(0, Mail::Control(2));
        }
        assert!(outbox.is_full());
    }
    let (mut taken, mut turns) = (0, 0);
    let mut is_waiting = true;
    while is_waiting {
        is_waiting = false;
        for (outbox, inbox) in &mut loops {
            while let Some(mail) = inbox.take() {
                taken += 1;
                // As a question is answered: one letter for each, while reading waits.
                if mail == Mail::Control(2) {
                    outbox.post(0, Mail::Control(1));
                }
            }
            is_waiting |= outbox.flush() || !inbox.is_empty();
        }
        turns += 1;
        assert!(turns < 10 * LETTERS_PENDING_MAX, "they wait for each other");
    }
    assert_eq!(taken, 4 * (LETTERS_PENDING_MAX + 1));
    assert!(loops.iter().all(|(outbox, _)| !outbox.is_full()));
}

#[test]
fn nothing_overtakes_a_control_message_that_waits() {
    let (address, inbox) = mailbox::<Mail, Bell>(1, Arc::new(Bell::default()));
    let mut outbox = Outbox::new(vec![address], false);
    outbox.post(0, Mail::Control(1));
    outbox.post(0, Mail::Control(2));
    assert_eq!(inbox.take(), Some(Mail::Control(1)));
    // There is room now, but 2 is still before them.
    outbox.post(0, Mail::Frame(3));
    assert_eq!(outbox.try_post(0, Mail::Control(4)), Err(Mail::Control(4)));
    assert!(!outbox.flush());
    assert_eq!(inbox.take(), Some(Mail::Control(2)));
    assert_eq!(inbox.take(), None);
    assert_eq!(outbox.lost(), 1);
}

/// Waits without a system call at first, so that whoever waits goes on at once.
fn wait_until(is_over: impl Fn() -> bool) {
    for turn in 1_u32.. {
        if is_over() {
            return;
        }
        std::hint::spin_loop();
        if turn.is_multiple_of(64) {
            thread::yield_now();
        }
    }
}

/// A few nanoseconds, more in each round: some round meets each moment of falling asleep.
fn meet_the_sleeper(round: u32) {
    for _ in 0..round % 8 {
        std::hint::spin_loop();
    }
}

#[test]
fn a_sleeper_never_misses_its_mail() {
    const SENDERS: u32 = 3;
    const ROUNDS: u32 = 20_000;
    for capacity in [1, 64] {
        let bell = Arc::new(Bell::default());
        let (address, inbox) = mailbox::<(u32, Mail), Bell>(capacity, Arc::clone(&bell));
        let taken = AtomicU32::new(0);
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (address, taken) = (address.clone(), &taken);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mut letter = (sender, Mail::Control(round));
                        while let Err(back) = address.try_send(letter) {
                            letter = back;
                            address.wake_if_asleep();
                            thread::yield_now();
                            if taken.load(Ordering::Acquire) == u32::MAX {
                                return;
                            }
                        }
                        address.wake_if_asleep();
                        // All wait for the last one: no later letter makes up for its wake-up.
                        wait_until(|| taken.load(Ordering::Acquire) >= (round + 1) * SENDERS);
                        meet_the_sleeper(round);
                    }
                });
            }
            let mut next = [0; SENDERS as usize];
            while next.iter().sum::<u32>() < SENDERS * ROUNDS {
                // A letter that comes now finds its reader awake, and about to sleep.
                meet_the_sleeper(next[0]);
                let has_mail = !inbox.is_empty();
                if inbox.may_sleep() {
                    if has_mail {
                        taken.store(u32::MAX, Ordering::Release);
                    }
                    assert!(!has_mail, "it sleeps with mail in its box: {next:?}");
                    let woken = bell.sleep();
                    if !woken {
                        // Lets the senders end.
                        taken.store(u32::MAX, Ordering::Release);
                    }
                    assert!(woken, "mail for a sleeper, and nobody woke it: {next:?}");
                }
                inbox.awake();
                while let Some((sender, mail)) = inbox.take() {
                    assert_eq!(mail, Mail::Control(next[sender as usize]));
                    next[sender as usize] += 1;
                    taken.fetch_add(1, Ordering::Release);
                }
            }
        });
    }
}

#[test]
fn whoever_has_mail_or_is_awake_is_not_woken() {
    let bell = Arc::new(Bell::default());
    let rung = || std::mem::take(&mut *bell.rung.lock().unwrap());
    let (address, inbox) = mailbox::<Mail, Bell>(2, Arc::clone(&bell));
    address.try_send(Mail::Control(0)).unwrap();
    assert!(!inbox.may_sleep(), "there is mail");
    address.wake_if_asleep();
    assert_eq!(rung(), 0, "it was awake");
    assert_eq!(inbox.take(), Some(Mail::Control(0)));
    assert!(inbox.may_sleep());
    address.try_send(Mail::Control(1)).unwrap();
    address.wake_if_asleep();
    address.wake_if_asleep();
    assert_eq!(rung(), 1, "once is enough");
}

#[test]
fn a_letter_posted_while_its_reader_falls_asleep_wakes_it() {
    const ROUNDS: u32 = 20_000;
    let bell = Arc::new(Bell::default());
    let (address, inbox) = mailbox::<Mail, Bell>(1, Arc::clone(&bell));
    let answered = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..ROUNDS {
                address.try_send(Mail::Control(number)).unwrap();
                address.wake_if_asleep();
                // No second letter makes up for a wake-up that was missed.
                wait_until(|| answered.load(Ordering::Acquire) != number);
                meet_the_sleeper(number);
            }
        });
        while answered.load(Ordering::Relaxed) < ROUNDS {
            if inbox.may_sleep() {
                let woken = bell.sleep();
                let number = answered.load(Ordering::Relaxed);
                if !woken {
                    // Lets the sender end.
                    answered.store(u32::MAX, Ordering::Release);
                }
                assert!(woken, "letter {number} for a sleeper, and nobody woke it");
            }
            inbox.awake();
            if inbox.take().is_some() {
                answered.fetch_add(1, Ordering::Release);
            }
        }
    });
}

#[test]
fn a_crowded_mailbox_slows_its_senders_for_a_second_at_most() {
    let (address, inbox) = mailbox::<Mail, Bell>(8, Arc::new(Bell::default()));
    let mut outbox = Outbox::new(vec![address], false);
    for number in 0..4 {
        outbox.post(0, Mail::Frame(number));
    }
    assert!(!outbox.is_crowded());
    outbox.post(0, Mail::Frame(4));
    assert!(outbox.is_crowded());

    let mut crowding = Crowding::default();
    assert!(!crowding.waits(false, Millis(0)));
    assert!(crowding.waits(true, Millis(5_000)));
    assert!(crowding.waits(true, Millis(5_000 + CROWDED_MS_MAX - 1)));
    assert!(!crowding.waits(true, Millis(5_000 + CROWDED_MS_MAX)));
    assert!(!crowding.waits(true, Millis(99_000)), "it has had its second");
    assert_eq!(inbox.take(), Some(Mail::Frame(0)));
    assert!(!crowding.waits(outbox.is_crowded(), Millis(99_001)));
    assert!(crowding.waits(true, Millis(99_002)), "a new stretch");
}

#[test]
fn a_sleeper_is_woken_once_for_all_messages_or_at_once_for_each() {
    for (at_once, wakes) in [(false, [0, 0, 1]), (true, [1, 2, 2])] {
        let (address, inbox) = mailbox::<Mail, Bell>(8, Arc::new(Bell::default()));
        let mut outbox = Outbox::new(vec![address], at_once);
        let mut seen = Vec::new();
        for number in 0..2 {
            assert!(inbox.may_sleep());
            outbox.post(0, Mail::Frame(number));
            seen.push(outbox.wakes());
            assert_eq!(inbox.take(), Some(Mail::Frame(number)));
        }
        outbox.flush();
        seen.push(outbox.wakes());
        assert_eq!(seen, wakes, "at once: {at_once}");
    }
}
