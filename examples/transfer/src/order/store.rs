//! A store with idempotency keys and tombstones, as each service in a saga needs them.
//!
//! Two rules apply, each in the same database transaction as the effect. A repeated key has no effect and returns the
//! first result. Undoing a request that has not arrived leaves a tombstone, so that the request has no effect when it
//! arrives late. redb is an example; any transactional database works.

use std::path::Path;

use redb::{Database, Error, ReadableTable, Table, TableDefinition};
use serde::{Deserialize, Serialize};

/// Amounts by name: items in stock, cents in accounts.
const AMOUNTS: TableDefinition<'_, &str, i64> = TableDefinition::new("amounts");
/// The result of each request by its key, as JSON.
const REQUESTS: TableDefinition<'_, &str, &str> = TableDefinition::new("requests");

/// The amounts, within a transaction.
pub(crate) struct Amounts<'a>(Table<'a, &'static str, i64>);

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Done, with this result.
    Done(i64),
    /// Refused, without an effect.
    Refused(String),
    /// Undone after or before it arrived: the tombstone.
    Undone,
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
    /// Opens the file, or creates it with these amounts.
    pub(crate) fn open(path: &Path, amounts: &[(&str, i64)]) -> Result<Self, Error> {
        let is_new = !path.exists();
        let store = Self(Database::create(path)?);
        if is_new {
            store.write(|stored, _| {
                amounts.iter().try_for_each(|(name, amount)| stored.add(name, *amount).map(drop))
            })?;
        }
        Ok(store)
    }

    /// Runs `act` once per key. Returns its answer, and `true` if the answer was stored by an earlier call.
    pub(crate) fn once(
        &self,
        key: &str,
        act: impl FnOnce(&mut Amounts<'_>) -> Result<Answer, Error>,
    ) -> Result<(Answer, bool), Error> {
        self.write(|amounts, requests| {
            if let Some(answer) = load_answer(requests, key)? {
                return Ok((answer, true));
            }
            let answer = act(amounts)?;
            store_answer(requests, key, &answer)?;
            Ok((answer, false))
        })
    }

    /// Undoes the request with this key once, whether it has arrived or not.
    pub(crate) fn undo(
        &self,
        key: &str,
        undo: impl FnOnce(&mut Amounts<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write(|amounts, requests| {
            match load_answer(requests, key)? {
                Some(Answer::Done(_)) => undo(amounts)?,
                // The request may still arrive.
                None => {}
                Some(Answer::Refused(_) | Answer::Undone) => return Ok(()),
            }
            store_answer(requests, key, &Answer::Undone)
        })
    }

    /// Runs `work` in one transaction, which is durable when this returns and rolled back after an error or a crash.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Amounts<'_>, &mut Table<'_, &'static str, &'static str>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self.0.begin_write()?;
        let mut amounts = Amounts(transaction.open_table(AMOUNTS)?);
        let mut requests = transaction.open_table(REQUESTS)?;
        let value = work(&mut amounts, &mut requests)?;
        drop((amounts, requests));
        transaction.commit()?;
        Ok(value)
    }
}

type Requests<'a> = Table<'a, &'static str, &'static str>;

fn load_answer(requests: &Requests<'_>, key: &str) -> Result<Option<Answer>, Error> {
    let Some(text) = requests.get(key)? else { return Ok(None) };
    let read = serde_json::from_str(text.value());
    Ok(Some(read.map_err(|error| Error::Corrupted(format!("stored answer of request {key}: {error}")))?))
}

fn store_answer(requests: &mut Requests<'_>, key: &str, answer: &Answer) -> Result<(), Error> {
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
        store.undo(key, |amounts| amounts.add("teapot", 1).map(drop)).unwrap();
    }

    #[test]
    fn a_repeated_key_has_no_effect_even_after_a_restart() {
        let (store, folder) = store();
        assert_eq!(take(&store, "1"), (Answer::Done(1), false));
        drop(store);
        let store = Store::open(&folder.path().join("store"), &[("teapot", 2)]).unwrap();
        assert_eq!(take(&store, "1"), (Answer::Done(1), true));
        assert_eq!(take(&store, "2"), (Answer::Done(0), false));
    }

    #[test]
    fn a_request_is_undone_once() {
        let (store, _folder) = store();
        take(&store, "1");
        put_back(&store, "1");
        put_back(&store, "1");
        assert_eq!(take(&store, "1"), (Answer::Undone, true));
        assert_eq!(take(&store, "2"), (Answer::Done(1), false));
    }

    #[test]
    fn a_request_that_arrives_after_its_undo_has_no_effect() {
        let (store, _folder) = store();
        put_back(&store, "1");
        assert_eq!(take(&store, "1"), (Answer::Undone, true));
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
