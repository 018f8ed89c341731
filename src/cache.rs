//! What a backend keeps of configuration rows, for as long as nothing has changed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::error::Result;
use crate::pg::invalidation::{Kind, Subject, Tick, now};

/// A bounded map of what was read of one kind of rows. An entry is good until something changes that it tells of. When
/// the map is full it starts empty again: a working set that is larger is read from the tables anyway.
pub struct Cache<K, V> {
    kind: Kind,
    /// The subject of an entry, by its key.
    of: fn(&K) -> Subject,
    most: usize,
    fits: fn(&V) -> bool,
    map: RefCell<HashMap<K, Kept<V>, foldhash::fast::RandomState>>,
}

struct Kept<V> {
    read_at: Tick,
    value: Rc<V>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    pub fn new(kind: Kind, of: fn(&K) -> Subject, most: usize) -> Self {
        Self { kind, of, most, fits: |_| true, map: RefCell::default() }
    }

    /// Keeps only values that fit; others are read each time.
    pub fn only(self, fits: fn(&V) -> bool) -> Self {
        Self { fits, ..self }
    }

    /// What is kept, or else what is read now, by a query in the latest snapshot. It is kept if nothing changed meanwhile.
    ///
    /// The caller has handled invalidation messages as far as it cares. The order is what keeps the cache from being stale:
    /// the tables are watched and the moment is taken before anything is read.
    pub fn get_or_read(&self, key: K, read: impl FnOnce(&K) -> Result<V>) -> Result<Rc<V>> {
        self.get_valid_or_read(key, |_| true, read)
    }

    /// The same, where what is kept may have become invalid by something else than a change of its subject.
    pub fn get_valid_or_read(
        &self,
        key: K,
        is_valid: impl Fn(&V) -> bool,
        read: impl FnOnce(&K) -> Result<V>,
    ) -> Result<Rc<V>> {
        if let Some(known) = self.get(&key).filter(|known| is_valid(known)) {
            return Ok(known);
        }
        let announced = self.kind.is_announced();
        let read_at = now();
        let value = Rc::new(read(&key)?);
        // SAFETY: reads the state of the running query. What it reads may be older than the messages it has handled.
        let parallel = unsafe { pgrx::pg_sys::IsInParallelMode() };
        if announced && !parallel && (self.fits)(&value) {
            self.keep(key, Kept { read_at, value: Rc::clone(&value) });
        }
        Ok(value)
    }

    /// What is kept, if it is still so.
    pub fn get(&self, key: &K) -> Option<Rc<V>> {
        let map = self.map.borrow();
        let kept = map.get(key)?;
        (!self.kind.has_changed((self.of)(key), kept.read_at)).then(|| Rc::clone(&kept.value))
    }

    fn keep(&self, key: K, kept: Kept<V>) {
        if self.kind.has_changed((self.of)(&key), kept.read_at) {
            return;
        }
        let mut map = self.map.borrow_mut();
        if map.len() >= self.most && !map.contains_key(&key) {
            map.clear();
        }
        map.insert(key, kept);
    }
}
