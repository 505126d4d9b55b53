//! The room: who is in it, and what each of them is still to be told.
//!
//! Each member has a queue with an end. Whoever says something puts it into the queues of all others and waits for none of
//! them: a member whose queue is full does not read, and is out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::Context;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::pb::left::Reason;
use crate::pb::server_message::What;
use crate::pb::{Joined, Left, Said, Welcome};

/// How much a member may leave unread.
const QUEUE: usize = 64;

/// How many members there can be.
const MEMBERS: usize = 1_000;

/// How long a name may be.
const NAME: usize = 24;

/// Something that a member is to be told, and the trace that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) what: What,
    pub(crate) context: Context,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Arc<Mutex<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    closed: bool,
    next: u64,
    taken: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    name: String,
    posts: mpsc::Sender<Post>,
    dismissal: oneshot::Sender<Status>,
}

impl Seat {
    /// Ends a membership from this side. The status comes before the end of the queue, and so is there when that is seen.
    fn dismiss(self, status: Status) {
        let _ = self.dismissal.send(status);
    }
}

impl Room {
    /// Takes a member in, tells them who is there, and tells all others. What they are told belongs to the current trace.
    pub(crate) fn join(&self, name: &str) -> Result<Membership, Status> {
        if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            return Err(Status::invalid_argument(format!("a name has 1 to {NAME} printable characters")));
        }
        let mut seats = self.lock();
        if seats.closed {
            return Err(Status::unavailable("the room is closed"));
        }
        if seats.taken.len() >= MEMBERS {
            return Err(Status::resource_exhausted("the room is full"));
        }
        if seats.taken.values().any(|seat| seat.name == name) {
            return Err(Status::already_exists("somebody has this name"));
        }
        let id = seats.next;
        seats.next += 1;
        let (posts, queue) = mpsc::channel(QUEUE);
        let (dismissal, dismissed) = oneshot::channel();
        let present = seats.taken.values().map(|seat| seat.name.clone()).collect();
        // The queue is new and has room.
        let welcome = What::Welcome(Welcome { present });
        let _ = posts.try_send(Post { what: welcome, context: Context::current() });
        seats.taken.insert(id, Seat { name: name.to_owned(), posts, dismissal });
        seats.tell_others(id, What::Joined(Joined { name: name.to_owned() }));
        Ok(Membership { room: self.clone(), id, queue, dismissed })
    }

    /// Sends everybody home, and lets nobody in any more.
    pub(crate) fn close(&self) {
        let mut seats = self.lock();
        seats.closed = true;
        for seat in std::mem::take(&mut seats.taken).into_values() {
            seat.dismiss(Status::unavailable("the room is closed"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Tells everybody but one, and then the rest about those who did not listen.
    fn tell_others(&mut self, id: u64, what: What) {
        let mut news = VecDeque::from([(id, what)]);
        while let Some((about, what)) = news.pop_front() {
            let post = Post { what, context: Context::current() };
            let full = |(id, seat): (&u64, &Seat)| {
                (*id != about && seat.posts.try_send(post.clone()).is_err()).then_some(*id)
            };
            let slow: Vec<_> = self.taken.iter().filter_map(full).collect();
            for id in slow {
                if let Some(seat) = self.taken.remove(&id) {
                    news.push_back((id, left(&seat.name, Reason::TooSlow)));
                    seat.dismiss(Status::resource_exhausted("too much is unread"));
                }
            }
        }
    }
}

fn left(name: &str, reason: Reason) -> What {
    What::Left(Left { name: name.to_owned(), reason: reason.into() })
}

/// A seat in the room. Who drops it was cut off.
#[derive(Debug)]
pub(crate) struct Membership {
    room: Room,
    id: u64,
    queue: mpsc::Receiver<Post>,
    dismissed: oneshot::Receiver<Status>,
}

impl Membership {
    /// Says something to everybody else.
    pub(crate) fn say(&self, text: String) {
        let mut seats = self.room.lock();
        if let Some(seat) = seats.taken.get(&self.id) {
            let name = seat.name.clone();
            seats.tell_others(self.id, What::Said(Said { name, text }));
        }
    }

    /// What is to be told next; nothing after the member has left and has been told everything, or a status if it was sent
    /// away. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<Post, Status>> {
        match self.queue.recv().await {
            Some(post) => Some(Ok(post)),
            None => self.dismissed.try_recv().ok().map(Err),
        }
    }

    /// Gives the seat back; what is in the queue can still be read. The others learn of it in a trace that begins here.
    pub(crate) fn leave(&self, reason: Reason) {
        let mut seats = self.room.lock();
        if let Some(seat) = seats.taken.remove(&self.id) {
            let _nothing = Context::new().attach();
            seats.tell_others(self.id, left(&seat.name, reason));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave(Reason::CutOff);
    }
}

#[cfg(test)]
mod tests;
