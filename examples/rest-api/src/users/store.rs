//! The in-memory store of users, and their validation.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::UsersError;

/// The body of a request to create or update a user.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UserFields {
    name: String,
    email: String,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) email: String,
}

#[derive(Default)]
pub(crate) struct Store(Mutex<Users>);

#[derive(Default)]
struct Users {
    by_id: BTreeMap<u64, User>,
    last_id: u64,
}

impl Store {
    pub(crate) fn all(&self) -> Vec<User> {
        self.lock().by_id.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Result<User, UsersError> {
        self.lock().by_id.get(&id).cloned().ok_or(UsersError::NotFound(id))
    }

    pub(crate) fn create(&self, fields: UserFields) -> Result<User, UsersError> {
        let mut users = self.lock();
        users.check(&fields, None)?;
        users.last_id += 1;
        let user = User { id: users.last_id, name: fields.name, email: fields.email };
        users.by_id.insert(user.id, user.clone());
        Ok(user)
    }

    pub(crate) fn update(&self, id: u64, fields: UserFields) -> Result<User, UsersError> {
        let mut users = self.lock();
        if !users.by_id.contains_key(&id) {
            return Err(UsersError::NotFound(id));
        }
        users.check(&fields, Some(id))?;
        let user = User { id, name: fields.name, email: fields.email };
        users.by_id.insert(id, user.clone());
        Ok(user)
    }

    pub(crate) fn delete(&self, id: u64) -> Result<(), UsersError> {
        self.lock().by_id.remove(&id).map(drop).ok_or(UsersError::NotFound(id))
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// Validates the fields of the user with this ID, or of a new user.
    fn check(&self, fields: &UserFields, id: Option<u64>) -> Result<(), UsersError> {
        if fields.name.trim().is_empty() {
            return Err(UsersError::Invalid("name", "is empty"));
        }
        if !fields.email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()) {
            return Err(UsersError::Invalid("email", "is not an address"));
        }
        let is_taken = |user: &User| user.email == fields.email && Some(user.id) != id;
        if self.by_id.values().any(is_taken) {
            return Err(UsersError::EmailTaken);
        }
        Ok(())
    }
}
