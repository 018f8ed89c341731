//! The table of readers with its keys by number, and which of them reads a report.

use std::cell::{OnceCell, RefCell};
use std::sync::LazyLock;

use super::lexicon::{self, Id, Paths};
use super::readers::{READERS, Reader, TRACED};
use super::shape::{Leaf, Leaves};
use super::slot::Place;
use crate::pricing::names::canonical;

/// A reader with its keys by number.
pub struct Compiled {
    pub reader: &'static Reader,
    any: Paths,
    all: Paths,
    traced: bool,
    own: Vec<(Id, Place)>,
}

static COMPILED: LazyLock<Vec<Compiled>> = LazyLock::new(|| READERS.iter().map(Compiled::new).collect());

impl Compiled {
    fn new(reader: &'static Reader) -> Self {
        let paths = |keys: &[&str]| {
            let mut paths = Paths::default();
            keys.iter().filter_map(|key| lexicon::id(key)).for_each(|id| paths.add(id));
            paths
        };
        let all: Vec<&str> = reader.all.iter().copied().filter(|key| *key != TRACED).collect();
        Self {
            reader,
            any: paths(reader.any),
            all: paths(&all),
            traced: reader.all.contains(&TRACED),
            own: reader.own.iter().filter_map(|(path, place)| Some((lexicon::id(path)?, *place))).collect(),
        }
    }

    /// The one that reads what these leaves say; the last one of the table reads anything.
    pub fn of(provider: &Provider<'_>, leaves: &Leaves<'_>) -> &'static Self {
        let place = leaves.said.mixed() % MET_SHAPES;
        MET.with_borrow_mut(|met| {
            if met.is_empty() {
                met.resize_with(MET_SHAPES, || None);
            }
            let known = met.get_mut(place);
            match known {
                Some(Some(shape)) if shape.is_of(provider, leaves) => shape.reader,
                known => {
                    let reader = Self::found(provider, leaves);
                    let fits = provider.given.len() <= MAX_BYTES;
                    if let Some(known) = known.filter(|_| fits) {
                        let (said, traced) = (leaves.said, leaves.traced);
                        *known = Some(Shape { said, traced, provider: provider.given.into(), reader });
                    }
                    reader
                }
            }
        })
    }

    fn found(provider: &Provider<'_>, leaves: &Leaves<'_>) -> &'static Self {
        let last = COMPILED.len().saturating_sub(1);
        let found = COMPILED.iter().position(|reader| reader.fits(provider, leaves)).unwrap_or(last);
        &COMPILED[found.min(last)]
    }

    fn fits(&self, provider: &Provider<'_>, leaves: &Leaves<'_>) -> bool {
        (leaves.traced || !self.traced)
            && leaves.said.has_all(&self.all)
            && (self.reader.any.is_empty() || leaves.said.has_any(&self.any))
            && (self.reader.providers.is_empty() || self.reader.providers.contains(&provider.canonical()))
    }

    /// Where the value of a leaf goes.
    pub fn place(&self, leaf: &Leaf<'_>) -> Option<Place> {
        self.own(leaf).or(leaf.meaning.place)
    }

    /// Where only this reader puts it.
    fn own(&self, leaf: &Leaf<'_>) -> Option<Place> {
        let own = leaf.meaning.id.and_then(|id| self.own.iter().find(|(own, _)| *own == id));
        own.map(|(_, place)| *place)
    }

    /// Whether this reader knows where the leaf stands, rather than its last key alone.
    pub fn knows(&self, leaf: &Leaf<'_>) -> bool {
        !leaf.meaning.far || self.own(leaf).is_some()
    }
}

/// What was said before by a provider of such a name, and who reads it.
struct Shape {
    said: Paths,
    traced: bool,
    provider: Box<str>,
    reader: &'static Compiled,
}

impl Shape {
    fn is_of(&self, provider: &Provider<'_>, leaves: &Leaves<'_>) -> bool {
        self.said == leaves.said && self.traced == leaves.traced && *self.provider == *provider.given
    }
}

/// How many shapes a thread remembers, each at the place that follows from its paths, and the longest name of a provider.
const MET_SHAPES: usize = 64;
const MAX_BYTES: usize = 100;

thread_local! {
    static MET: RefCell<Vec<Option<Shape>>> = const { RefCell::new(Vec::new()) };
}

/// A provider as it was given; what prices call it is only asked for where keys do not tell.
pub struct Provider<'a> {
    given: &'a str,
    canonical: OnceCell<String>,
}

impl<'a> Provider<'a> {
    pub fn new(given: &'a str) -> Self {
        Self { given, canonical: OnceCell::new() }
    }

    fn canonical(&self) -> &str {
        self.canonical.get_or_init(|| canonical(self.given))
    }
}
