//! Who is told what, and what becomes of members who do not listen.

use tonic::Code;

use super::{Membership, QUEUE, Room, left};
use crate::pb::left::Reason;
use crate::pb::server_message::What;
use crate::pb::{Joined, Said, Welcome};

fn welcome(present: &[&str]) -> What {
    What::Welcome(Welcome { present: present.iter().map(ToString::to_string).collect() })
}

fn joined(name: &str) -> What {
    What::Joined(Joined { name: name.to_owned() })
}

fn said(name: &str, text: &str) -> What {
    What::Said(Said { name: name.to_owned(), text: text.to_owned() })
}

/// What waits in the queue, without waiting for more.
fn told(member: &mut Membership) -> Vec<What> {
    std::iter::from_fn(|| member.queue.try_recv().ok()).map(|post| post.what).collect()
}

#[test]
fn everybody_else_is_told() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    let mut grace = room.join("grace").unwrap();
    ada.say("hello".to_owned());
    grace.leave(Reason::Left);
    ada.say("bye".to_owned());
    assert_eq!(told(&mut ada), [welcome(&[]), joined("grace"), left("grace", Reason::Left)]);
    assert_eq!(told(&mut grace), [welcome(&["ada"]), said("ada", "hello")]);
}

#[test]
fn who_is_dropped_was_cut_off_and_who_left_before_was_not() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    drop(room.join("grace").unwrap());
    let alan = room.join("alan").unwrap();
    alan.leave(Reason::Left);
    drop(alan);
    let [_, _, grace, _, alan] = told(&mut ada).try_into().unwrap();
    assert_eq!(grace, left("grace", Reason::CutOff));
    assert_eq!(alan, left("alan", Reason::Left));
}

#[tokio::test]
async fn who_does_not_listen_is_out_and_holds_nobody_up() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    let mut grace = room.join("grace").unwrap();
    let mut slow = room.join("slow").unwrap();
    told(&mut ada);
    told(&mut grace);
    // One place in the queue is taken by the welcome.
    for number in 0..QUEUE {
        ada.say(number.to_string());
        assert_eq!(told(&mut grace).remove(0), said("ada", &number.to_string()));
    }
    assert_eq!(told(&mut ada), [left("slow", Reason::TooSlow)]);
    // It still gets what was in the queue, and then learns why there is no more.
    for _ in 0..QUEUE {
        slow.next().await.unwrap().unwrap();
    }
    assert_eq!(slow.next().await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert!(slow.next().await.is_none());
    drop(slow);
    assert_eq!(told(&mut ada), []);
}

#[tokio::test]
async fn who_leaves_is_told_the_rest() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    ada.leave(Reason::Left);
    assert_eq!(ada.next().await.unwrap().unwrap().what, welcome(&[]));
    assert!(ada.next().await.is_none());
}

#[tokio::test]
async fn a_closed_room_sends_everybody_home() {
    let room = Room::default();
    let mut ada = room.join("ada").unwrap();
    room.close();
    assert_eq!(ada.next().await.unwrap().unwrap().what, welcome(&[]));
    assert_eq!(ada.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(room.join("grace").unwrap_err().code(), Code::Unavailable);
}

#[test]
fn names_are_unique_and_fit_to_be_shown() {
    let room = Room::default();
    let ada = room.join("ada").unwrap();
    let refused = |name: &str| room.join(name).unwrap_err().code();
    assert_eq!(refused("ada"), Code::AlreadyExists);
    for name in ["", "a\u{7}", &"a".repeat(25)] {
        assert_eq!(refused(name), Code::InvalidArgument, "{name:?}");
    }
    room.join(&"é".repeat(24)).unwrap();
    drop(ada);
    room.join("ada").unwrap();
}
