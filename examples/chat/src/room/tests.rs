//! Tests of message delivery and of the removal of slow members.

use tonic::Code;

use super::{Membership, QUEUE, Room, left};
use crate::pb::left::Reason;
use crate::pb::server_message::Kind;
use crate::pb::{Joined, Said, Welcome};

fn welcome(present: &[&str]) -> Kind {
    Kind::Welcome(Welcome { present: present.iter().map(ToString::to_string).collect() })
}

fn joined(name: &str) -> Kind {
    Kind::Joined(Joined { name: name.to_owned() })
}

fn said(name: &str, text: &str) -> Kind {
    Kind::Said(Said { name: name.to_owned(), text: text.to_owned() })
}

/// Drains the queue without waiting.
fn drain(member: &mut Membership) -> Vec<Kind> {
    std::iter::from_fn(|| member.queue.try_recv().ok()).map(|post| post.kind).collect()
}

#[test]
fn all_other_members_are_notified() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    let mut grace = room.join("grace").unwrap();
    ada.say("hello".to_owned());
    grace.leave(Reason::Left);
    ada.say("bye".to_owned());
    assert_eq!(drain(&mut ada), [welcome(&[]), joined("grace"), left("grace", Reason::Left)]);
    assert_eq!(drain(&mut grace), [welcome(&["ada"]), said("ada", "hello")]);
}

#[test]
fn a_dropped_membership_is_disconnected_unless_it_has_left() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    drop(room.join("grace").unwrap());
    let alan = room.join("alan").unwrap();
    alan.leave(Reason::Left);
    drop(alan);
    let [_, _, grace, _, alan] = drain(&mut ada).try_into().unwrap();
    assert_eq!(grace, left("grace", Reason::Disconnected));
    assert_eq!(alan, left("alan", Reason::Left));
}

#[tokio::test]
async fn a_slow_member_is_removed_and_does_not_block_others() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    let mut grace = room.join("grace").unwrap();
    let mut slow = room.join("slow").unwrap();
    drain(&mut ada);
    drain(&mut grace);
    // The welcome takes one slot of the queue.
    for number in 0..QUEUE {
        ada.say(number.to_string());
        assert_eq!(drain(&mut grace).remove(0), said("ada", &number.to_string()));
    }
    assert_eq!(drain(&mut ada), [left("slow", Reason::TooSlow)]);
    // The queued messages are still delivered, followed by the status.
    for _ in 0..QUEUE {
        slow.next().await.unwrap().unwrap();
    }
    assert_eq!(slow.next().await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert!(slow.next().await.is_none());
    drop(slow);
    assert_eq!(drain(&mut ada), []);
}

#[tokio::test]
async fn a_member_that_leaves_receives_queued_messages() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    ada.leave(Reason::Left);
    assert_eq!(ada.next().await.unwrap().unwrap().kind, welcome(&[]));
    assert!(ada.next().await.is_none());
}

#[tokio::test]
async fn a_closed_room_ends_all_memberships() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    room.close();
    assert_eq!(ada.next().await.unwrap().unwrap().kind, welcome(&[]));
    assert_eq!(ada.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(room.join("grace").unwrap_err().code(), Code::Unavailable);
}

#[test]
fn names_are_unique_and_printable() {
    let room = Room::default();
    let ada = room.join("ada").unwrap();
    let join_error = |name: &str| room.join(name).unwrap_err().code();
    assert_eq!(join_error("ada"), Code::AlreadyExists);
    for name in ["", "a\u{7}", &"a".repeat(25)] {
        assert_eq!(join_error(name), Code::InvalidArgument, "{name:?}");
    }
    room.join(&"é".repeat(24)).unwrap();
    drop(ada);
    room.join("ada").unwrap();
}
