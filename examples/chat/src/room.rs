//! The room: its members and a bounded queue for each.
//!
//! A sender appends to the queues of all others without waiting. A member whose queue is full reads too slowly and is
//! removed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::Context;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::pb::left::Reason;
use crate::pb::server_message::Kind;
use crate::pb::{Joined, Left, Said, Welcome};

/// The capacity of a member's queue.
const QUEUE: usize = 64;

/// The maximum number of members.
const MEMBERS: usize = 1_000;

/// The maximum length of a name, in characters.
const NAME: usize = 24;

/// A queued message and the context of its trace.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) kind: Kind,
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
    /// Ends a membership from the server's side. The status is sent before the queue closes, so that the reader finds
    /// it at the end of the queue.
    fn dismiss(self, status: Status) {
        let _ = self.dismissal.send(status);
    }
}

impl Room {
    /// Adds a member, queues the welcome and notifies all others, within the current trace.
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
            return Err(Status::already_exists("the name is in use"));
        }
        let id = seats.next;
        seats.next += 1;
        let (posts, queue) = mpsc::channel(QUEUE);
        let (dismissal, dismissed) = oneshot::channel();
        let present = seats.taken.values().map(|seat| seat.name.clone()).collect();
        let welcome = Kind::Welcome(Welcome { present });
        // Cannot fail: the queue is empty and its receiver exists.
        let _ = posts.try_send(Post { kind: welcome, context: Context::current() });
        seats.taken.insert(id, Seat { name: name.to_owned(), posts, dismissal });
        seats.broadcast(id, Kind::Joined(Joined { name: name.to_owned() }));
        Ok(Membership { room: self.clone(), id, queue, dismissed })
    }

    /// Ends all memberships and rejects new ones.
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
    /// Queues a message for all members except `id`. Members with full queues are removed, and the others notified.
    fn broadcast(&mut self, id: u64, kind: Kind) {
        let mut pending = VecDeque::from([(id, kind)]);
        while let Some((about, kind)) = pending.pop_front() {
            let post = Post { kind, context: Context::current() };
            let full = |(id, seat): (&u64, &Seat)| {
                (*id != about && seat.posts.try_send(post.clone()).is_err()).then_some(*id)
            };
            let slow: Vec<_> = self.taken.iter().filter_map(full).collect();
            for id in slow {
                if let Some(seat) = self.taken.remove(&id) {
                    pending.push_back((id, left(&seat.name, Reason::TooSlow)));
                    seat.dismiss(Status::resource_exhausted("too many unread messages"));
                }
            }
        }
    }
}

fn left(name: &str, reason: Reason) -> Kind {
    Kind::Left(Left { name: name.to_owned(), reason: reason.into() })
}

/// A seat in the room. Dropping it announces a broken connection, unless [`leave`](Self::leave) was called.
#[derive(Debug)]
pub(crate) struct Membership {
    room: Room,
    id: u64,
    queue: mpsc::Receiver<Post>,
    dismissed: oneshot::Receiver<Status>,
}

impl Membership {
    /// Sends text to all other members.
    pub(crate) fn say(&self, text: String) {
        let mut seats = self.room.lock();
        if let Some(seat) = seats.taken.get(&self.id) {
            let name = seat.name.clone();
            seats.broadcast(self.id, Kind::Said(Said { name, text }));
        }
    }

    /// Returns the next queued message. After the last one it returns `None` if the member has left, or the status if
    /// the member was removed. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Post, Status>> {
        match self.queue.recv().await {
            Some(post) => Some(Ok(post)),
            None => self.dismissed.try_recv().ok().map(Err),
        }
    }

    /// Releases the seat; queued messages can still be read. Notifies the others in a new trace.
    pub(crate) fn leave(&self, reason: Reason) {
        let mut seats = self.room.lock();
        if let Some(seat) = seats.taken.remove(&self.id) {
            let _guard = Context::new().attach();
            seats.broadcast(self.id, left(&seat.name, reason));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave(Reason::Disconnected);
    }
}

#[cfg(test)]
mod tests;
