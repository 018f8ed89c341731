//! Every path that a reader knows, by number, and the numbers of raw paths that were met before.
//!
//! Reports of one provider have the same keys again and again. What a raw path means is found out once in a thread and then
//! looked up; that a key is there is one bit, so that a reader's conditions are a comparison of bits.

use std::cell::RefCell;
use std::sync::LazyLock;

use foldhash::{HashMap, HashMapExt};

use super::key;
use super::readers::READERS;
use super::slot::{COMMON, ENDINGS, Place};
use super::told;
use crate::pricing::known_keys;

/// Most raw paths that a thread remembers, and the longest of them.
const MAX_MEANINGS: usize = 4_096;
const MAX_BYTES: usize = 200;

/// The number of a path.
pub type Id = u16;

/// A set of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paths([u64; 8]);

impl Paths {
    pub fn add(&mut self, id: Id) {
        if let Some(word) = self.0.get_mut(usize::from(id / 64)) {
            *word |= 1 << (id % 64);
        }
    }

    /// A number of the whole set, to find it by.
    pub fn mixed(&self) -> usize {
        let mixed = self.0.iter().fold(0_u64, |sum, word| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        usize::try_from(mixed >> 40).unwrap_or_default()
    }

    pub fn has_all(&self, others: &Self) -> bool {
        self.0.iter().zip(others.0).all(|(own, other)| own & other == other)
    }

    pub fn has_any(&self, others: &Self) -> bool {
        self.0.iter().zip(others.0).any(|(own, other)| own & other != 0)
    }
}

/// What a raw path means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meaning {
    /// The path's own number.
    pub id: Option<Id>,
    /// The number of a beginning that readers ask for.
    pub below: Option<Id>,
    /// What it says by itself.
    pub place: Option<Place>,
    /// Whether it is far from the object that it is read in, and known by its last key alone.
    pub far: bool,
    /// Whether it has the prefix of a tracing convention.
    pub traced: bool,
    /// Whether its last key holds what a model read or wrote.
    pub content: bool,
    /// Whether it speaks of tokens.
    pub tokens: bool,
}

struct Lexicon {
    ids: HashMap<&'static str, Id>,
    paths: Vec<(&'static str, Option<Place>)>,
    beginnings: Vec<(&'static str, Id)>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut lexicon = Lexicon { ids: HashMap::new(), paths: Vec::new(), beginnings: Vec::new() };
    for (path, place) in COMMON {
        lexicon.add(path, Some(*place));
    }
    let own_form =
        known_keys().map(|(key, is_word)| (key, if is_word { Place::Word(key) } else { Place::Quantity(key) }));
    for (path, place) in own_form.chain([("in.cache_type", Place::CacheType)]) {
        if !lexicon.ids.contains_key(path) {
            lexicon.add(path, Some(place));
        }
    }
    for reader in READERS {
        let own = reader.own.iter().map(|(path, _)| *path);
        for path in own.chain(reader.any.iter().copied()).chain(reader.all.iter().copied()) {
            lexicon.add(path, None);
        }
    }
    lexicon
});

impl Lexicon {
    fn add(&mut self, path: &'static str, place: Option<Place>) {
        if self.ids.contains_key(path) {
            return;
        }
        let id = Id::try_from(self.paths.len()).unwrap_or(Id::MAX);
        self.ids.insert(path, id);
        self.paths.push((path, place));
        if path.ends_with('.') {
            self.beginnings.push((path, id));
        }
    }

    fn meaning(&self, raw: &str) -> Meaning {
        let mut spelled = String::new();
        key::push(&mut spelled, raw);
        let (path, traced) = key::without_prefix(&spelled);
        let last = path.rsplit_once('.').map_or(path, |(_, last)| last);
        let id = self.ids.get(path).copied();
        let common = id.and_then(|id| self.paths.get(usize::from(id))).and_then(|(_, place)| *place);
        Meaning {
            id,
            far: common.is_none() && path.split('.').count() > 2,
            below: self.beginnings.iter().find(|(beginning, _)| path.starts_with(beginning)).map(|(_, id)| *id),
            place: common.or_else(|| ENDINGS.iter().find(|(ending, _)| *ending == last).map(|(_, place)| *place)),
            traced,
            content: told::is_content(last),
            tokens: path.contains("tokens"),
        }
    }
}

thread_local! {
    static MET: RefCell<HashMap<Box<str>, Meaning>> = RefCell::new(HashMap::new());
}

/// What a raw path means, its keys parted by dots.
pub fn meaning(raw: &str) -> Meaning {
    if raw.len() > MAX_BYTES {
        return LEXICON.meaning(raw);
    }
    MET.with_borrow_mut(|met| {
        if let Some(meaning) = met.get(raw) {
            return *meaning;
        }
        if met.len() >= MAX_MEANINGS {
            met.clear();
        }
        let meaning = LEXICON.meaning(raw);
        met.insert(raw.into(), meaning);
        meaning
    })
}

/// The number of a path of the table.
pub fn id(path: &str) -> Option<Id> {
    LEXICON.ids.get(path).copied()
}

/// How a leaf is told in an error: by the spelling of the table where it is known.
pub fn name(id: Option<Id>) -> &'static str {
    id.and_then(|id| LEXICON.paths.get(usize::from(id))).map_or("a count", |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_bit() {
        assert!(LEXICON.paths.len() <= 512, "{}", LEXICON.paths.len());
        let mut paths = Paths::default();
        paths.add(511);
        assert!(paths.has_any(&paths) && paths.has_all(&paths));
        assert!(!paths.has_any(&Paths::default()) && paths.has_all(&Paths::default()));
    }
}
