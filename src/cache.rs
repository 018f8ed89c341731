//! What a backend keeps of configuration rows, for as long as nothing has changed.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::pg::invalidation::{generation, people_generation};

/// A bounded map whose entries are of one generation of the configuration. When it is full it starts anew: a working set
/// that is larger than that is read from the tables anyway.
pub struct Cache<K, V> {
    /// The generation as it is now.
    now: fn() -> u64,
    generation: Cell<u64>,
    most: usize,
    map: RefCell<HashMap<K, Rc<V>, foldhash::fast::RandomState>>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    pub fn new(most: usize) -> Self {
        Self { now: generation, generation: Cell::new(0), most, map: RefCell::default() }
    }

    /// For what is read from memberships and preferences.
    pub fn of_people(most: usize) -> Self {
        Self { now: people_generation, ..Self::new(most) }
    }

    /// What is kept, if it is still so. The caller has handled invalidation messages as far as he cares.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Rc<V>>
    where
        K: Borrow<Q>,
    {
        if self.generation.get() != (self.now)() {
            return None;
        }
        self.map.borrow().get(key).cloned()
    }

    /// Keeps what was read after the generation was taken. If anything changed since, it is given back and not kept.
    pub fn keep(&self, read_in: u64, key: K, value: V) -> Rc<V> {
        let value = Rc::new(value);
        // SAFETY: reads the state of the running query. What it reads may be older than the messages it has handled.
        let parallel = unsafe { pgrx::pg_sys::IsInParallelMode() };
        if read_in == (self.now)() && !parallel {
            let mut map = self.map.borrow_mut();
            if self.generation.replace(read_in) != read_in || map.len() >= self.most {
                map.clear();
            }
            map.insert(key, Rc::clone(&value));
        }
        value
    }
}
