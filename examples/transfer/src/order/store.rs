//! What a service remembers so that a saga can ask it again, and can take back what it never heard of.
//!
//! Two rules, without which no orchestrator can keep a saga whole: the same key again does nothing again and gets the
//! first answer; and what was taken back before it came leaves a tombstone, so that it does nothing when it comes late.
//! Each is kept in the same database transaction as the effect itself. Copy this with another database in redb's place.

use std::path::Path;

use redb::{Database, Error, ReadableTable, Table, TableDefinition};
use serde::{Deserialize, Serialize};

/// What there is: pieces in stock, cents in accounts.
const AMOUNTS: TableDefinition<'_, &str, i64> = TableDefinition::new("amounts");
/// What became of each request, as JSON, by its key.
const REQUESTS: TableDefinition<'_, &str, &str> = TableDefinition::new("requests");

/// The amounts, inside of a transaction.
pub(crate) struct Amounts<'a>(Table<'a, &'static str, i64>);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It was done, with this result.
    Done(i64),
    /// It has not been done, and never will be.
    Refused(String),
    /// It was done and taken back, or was taken back before it came: the tombstone.
    TakenBack,
}

pub(crate) struct Store(Database);

impl Amounts<'_> {
    pub(crate) fn get(&self, name: &str) -> Result<i64, Error> {
        Ok(self.0.get(name)?.map_or(0, |amount| amount.value()))
    }

    pub(crate) fn add(&mut self, name: &str, change: i64) -> Result<i64, Error> {
        let amount = self.get(name)? + change;
        self.0.insert(name, amount)?;
        Ok(amount)
    }
}

impl Store {
    /// Opens the file, and creates it with these amounts if there is none.
    pub(crate) fn open(path: &Path, amounts: &[(&str, i64)]) -> Result<Self, Error> {
        let is_new = !path.exists();
        let store = Self(Database::create(path)?);
        if is_new {
            store.write(|there, _| {
                amounts.iter().try_for_each(|(name, amount)| there.add(name, *amount).map(drop))
            })?;
        }
        Ok(store)
    }

    /// Does this once for this key. Tells whether the answer is an old one as well.
    pub(crate) fn once(
        &self,
        key: &str,
        act: impl FnOnce(&mut Amounts<'_>) -> Result<Answer, Error>,
    ) -> Result<(Answer, bool), Error> {
        self.write(|amounts, requests| {
            if let Some(answer) = remembered(requests, key)? {
                return Ok((answer, true));
            }
            let answer = act(amounts)?;
            remember(requests, key, &answer)?;
            Ok((answer, false))
        })
    }

    /// Takes back what was done for this key, whether it was done or not, once.
    pub(crate) fn take_back(
        &self,
        key: &str,
        undo: impl FnOnce(&mut Amounts<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write(|amounts, requests| {
            match remembered(requests, key)? {
                Some(Answer::Done(_)) => undo(amounts)?,
                // It may come yet.
                None => {}
                Some(Answer::Refused(_) | Answer::TakenBack) => return Ok(()),
            }
            remember(requests, key, &Answer::TakenBack)
        })
    }

    /// One transaction: durable when this returns, and nothing of it after an error or a crash.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Amounts<'_>, &mut Table<'_, &'static str, &'static str>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self.0.begin_write()?;
        let mut amounts = Amounts(transaction.open_table(AMOUNTS)?);
        let mut requests = transaction.open_table(REQUESTS)?;
        let done = work(&mut amounts, &mut requests)?;
        drop((amounts, requests));
        transaction.commit()?;
        Ok(done)
    }
}

type Requests<'a> = Table<'a, &'static str, &'static str>;

fn remembered(requests: &Requests<'_>, key: &str) -> Result<Option<Answer>, Error> {
    let Some(text) = requests.get(key)? else { return Ok(None) };
    let read = serde_json::from_str(text.value());
    Ok(Some(read.map_err(|error| Error::Corrupted(format!("the answer to {key}: {error}")))?))
}

fn remember(requests: &mut Requests<'_>, key: &str, answer: &Answer) -> Result<(), Error> {
    let text = serde_json::to_string(answer).map_err(|error| Error::Io(error.into()))?;
    requests.insert(key, text.as_str())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Answer, Store};
    use crate::demo::Folder;

    fn store() -> (Store, Folder) {
        let folder = Folder::new().unwrap();
        (Store::open(&folder.path().join("store"), &[("teapot", 2)]).unwrap(), folder)
    }

    fn take(store: &Store, key: &str) -> (Answer, bool) {
        store.once(key, |amounts| Ok(Answer::Done(amounts.add("teapot", -1)?))).unwrap()
    }

    fn put_back(store: &Store, key: &str) {
        store.take_back(key, |amounts| amounts.add("teapot", 1).map(drop)).unwrap();
    }

    #[test]
    fn the_same_key_again_does_nothing_again_also_after_a_restart() {
        let (store, folder) = store();
        assert_eq!(take(&store, "1"), (Answer::Done(1), false));
        drop(store);
        let store = Store::open(&folder.path().join("store"), &[("teapot", 2)]).unwrap();
        assert_eq!(take(&store, "1"), (Answer::Done(1), true));
        assert_eq!(take(&store, "2"), (Answer::Done(0), false));
    }

    #[test]
    fn what_is_taken_back_is_taken_back_once() {
        let (store, _folder) = store();
        take(&store, "1");
        put_back(&store, "1");
        put_back(&store, "1");
        assert_eq!(take(&store, "1"), (Answer::TakenBack, true));
        assert_eq!(take(&store, "2"), (Answer::Done(1), false));
    }

    #[test]
    fn what_comes_after_it_was_taken_back_does_nothing() {
        let (store, _folder) = store();
        put_back(&store, "1");
        assert_eq!(take(&store, "1"), (Answer::TakenBack, true));
        assert_eq!(take(&store, "2"), (Answer::Done(1), false));
    }

    #[test]
    fn a_refusal_is_final() {
        let (store, _folder) = store();
        let refuse = |key| store.once(key, |_| Ok(Answer::Refused("no".to_owned()))).unwrap();
        assert_eq!(refuse("1"), (Answer::Refused("no".to_owned()), false));
        assert_eq!(take(&store, "1"), (Answer::Refused("no".to_owned()), true));
        put_back(&store, "1");
        assert_eq!(take(&store, "2"), (Answer::Done(1), false));
    }
}
