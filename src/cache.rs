//! What a backend keeps of configuration rows, for as long as nothing has changed.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::error::Result;
use crate::pg::invalidation::{generation, people_generation, watch};

/// A bounded map whose entries are of one generation of the configuration. When it is full it starts empty again: a
/// working set that is larger is read from the tables anyway.
pub struct Cache<K, V> {
    /// The generation as it is now.
    now: fn() -> u64,
    generation: Cell<u64>,
    most: usize,
    fits: fn(&V) -> bool,
    map: RefCell<HashMap<K, Rc<V>, foldhash::fast::RandomState>>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    pub fn new(most: usize) -> Self {
        Self { now: generation, generation: Cell::new(0), most, fits: |_| true, map: RefCell::default() }
    }

    /// For what is read from memberships and preferences.
    pub fn of_people(most: usize) -> Self {
        Self { now: people_generation, ..Self::new(most) }
    }

    /// Keeps only values that fit; others are read each time.
    pub fn only(self, fits: fn(&V) -> bool) -> Self {
        Self { fits, ..self }
    }

    /// What is kept, or else what is read now, by a query in the latest snapshot. It is kept if nothing changed meanwhile.
    ///
    /// The caller has handled invalidation messages as far as it cares. The order is what keeps the cache from being stale:
    /// the tables are watched and the generation is taken before anything is read.
    pub fn get_or_read(&self, key: K, read: impl FnOnce(&K) -> Result<V>) -> Result<Rc<V>> {
        self.get_valid_or_read(key, |_| true, read)
    }

    /// The same, where what is kept may have become invalid by something else than a change of rows.
    pub fn get_valid_or_read(
        &self,
        key: K,
        is_valid: impl Fn(&V) -> bool,
        read: impl FnOnce(&K) -> Result<V>,
    ) -> Result<Rc<V>> {
        if let Some(known) = self.get(&key).filter(|known| is_valid(known)) {
            return Ok(known);
        }
        watch();
        let read_in = (self.now)();
        let value = read(&key)?;
        Ok(self.keep(read_in, key, value))
    }

    /// What is kept, if it is still so.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Rc<V>>
    where
        K: Borrow<Q>,
    {
        if self.generation.get() != (self.now)() {
            return None;
        }
        self.map.borrow().get(key).cloned()
    }

    fn keep(&self, read_in: u64, key: K, value: V) -> Rc<V> {
        let fits = (self.fits)(&value);
        let value = Rc::new(value);
        // SAFETY: reads the state of the running query. What it reads may be older than the messages it has handled.
        let parallel = unsafe { pgrx::pg_sys::IsInParallelMode() };
        if fits && read_in == (self.now)() && !parallel {
            let mut map = self.map.borrow_mut();
            if self.generation.replace(read_in) != read_in || map.len() >= self.most {
                map.clear();
            }
            map.insert(key, Rc::clone(&value));
        }
        value
    }
}
