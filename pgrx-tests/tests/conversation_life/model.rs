//! A conversation as lists: each path has all the messages that it shows, inherited ones first. What a message is, is
//! kept once; what follows of it for a path is looked up in the path's list.

use std::collections::BTreeSet;
use std::ops::Range;

use uuid::Uuid;

/// A message's place in [`Chat::messages`].
pub type MessageNumber = usize;
/// A path's place in [`Chat::paths`].
pub type PathNumber = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    User,
    Assistant,
    Tool,
    System,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            Role::System => "system",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: Uuid,
    /// Who wrote it: the path under which its row is.
    pub owner: PathNumber,
    pub role: Role,
    pub content: String,
    pub token_count: Option<u64>,
    pub is_pinned: bool,
    pub is_finished: bool,
    pub is_deleted: bool,
    pub is_erased: bool,
    pub copied_from: Option<MessageNumber>,
    /// What the writer of a merge's summary has read.
    pub sums_up: BTreeSet<MessageNumber>,
}

impl Message {
    pub fn new(id: Uuid, owner: PathNumber, role: Role, content: &str, token_count: Option<u64>) -> Message {
        Message {
            id,
            owner,
            role,
            content: content.to_string(),
            token_count,
            is_pinned: false,
            is_finished: true,
            is_deleted: false,
            is_erased: false,
            copied_from: None,
            sums_up: BTreeSet::new(),
        }
    }

    fn tokens(&self) -> u64 {
        self.token_count.unwrap_or(self.content.len() as u64 / 4)
    }
}

#[derive(Clone, Debug)]
pub struct Path {
    pub id: Uuid,
    pub list: Vec<MessageNumber>,
    /// How many of the list were there when the path was made.
    pub inherited: usize,
    pub is_active: bool,
    pub is_merged: bool,
    pub is_gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationState {
    Applied,
    Reverted,
    Failed,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub id: Uuid,
    pub path: PathNumber,
    /// How many messages of its path it covers.
    pub through: usize,
    pub summary: String,
    pub kept: BTreeSet<MessageNumber>,
    pub state: OperationState,
}

/// A line of what a model is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    Summary(usize),
    Message { number: MessageNumber, position: usize },
}

#[derive(Debug)]
pub struct Context {
    pub operation: Option<usize>,
    pub shown: Vec<Shown>,
    pub is_cut: bool,
}

/// Path 0 is the primary one.
#[derive(Clone, Debug)]
pub struct Chat {
    pub id: Uuid,
    pub messages: Vec<Message>,
    pub paths: Vec<Path>,
    /// In the order in which they were applied.
    pub operations: Vec<Operation>,
    pub active: PathNumber,
    pub is_archived: bool,
}

impl Chat {
    pub fn new(id: Uuid, primary: Uuid) -> Chat {
        let primary =
            Path { id: primary, list: Vec::new(), inherited: 0, is_active: true, is_merged: false, is_gone: false };
        Chat { id, messages: Vec::new(), paths: vec![primary], operations: Vec::new(), active: 0, is_archived: false }
    }

    /// Where a message goes that names no path.
    pub fn current(&self) -> PathNumber {
        if self.takes_messages(self.active) { self.active } else { 0 }
    }

    pub fn takes_messages(&self, path: PathNumber) -> bool {
        self.paths[path].is_active && !self.paths[path].is_gone
    }

    /// The paths that are there.
    pub fn living(&self) -> Vec<PathNumber> {
        (0..self.paths.len()).filter(|path| !self.paths[*path].is_gone).collect()
    }

    pub fn position(&self, path: PathNumber, message: MessageNumber) -> Option<usize> {
        self.paths[path].list.iter().position(|number| *number == message).map(|index| index + 1)
    }

    /// What people read.
    pub fn history(&self, path: PathNumber, includes_deleted: bool) -> Vec<(usize, MessageNumber)> {
        let numbered = self.paths[path].list.iter().enumerate().map(|(index, number)| (index + 1, *number));
        numbered.filter(|(_, number)| includes_deleted || !self.messages[*number].is_deleted).collect()
    }

    /// The paths that a path inherits from, with how far, and itself.
    pub fn lineage(&self, path: PathNumber) -> Vec<(PathNumber, usize)> {
        let mut lineage: Vec<(PathNumber, usize)> = Vec::new();
        for (index, number) in self.paths[path].list[..self.paths[path].inherited].iter().enumerate() {
            let owner = self.messages[*number].owner;
            match lineage.last_mut() {
                Some((last, upto)) if *last == owner => *upto = index + 1,
                _ => lineage.push((owner, index + 1)),
            }
        }
        lineage.push((path, usize::MAX));
        lineage
    }

    /// The operation by which a path is shown: of those that it inherits whole, the one that reaches farthest.
    pub fn governing(&self, path: PathNumber) -> Option<usize> {
        let lineage = self.lineage(path);
        let governs = |operation: &Operation| {
            operation.state == OperationState::Applied
                && lineage.iter().any(|(source, upto)| *source == operation.path && operation.through <= *upto)
        };
        let all = self.operations.iter().enumerate().filter(|(_, operation)| governs(operation));
        all.max_by_key(|(number, operation)| (operation.through, *number)).map(|(number, _)| number)
    }

    /// A call and its results: an assistant's message and the tools' that follow it.
    pub fn units(&self, path: PathNumber) -> Vec<Range<usize>> {
        let roles: Vec<Role> = self.paths[path].list.iter().map(|number| self.messages[*number].role).collect();
        let mut units: Vec<Range<usize>> = Vec::new();
        for (index, role) in roles.iter().enumerate() {
            let goes_on = *role == Role::Tool && index > 0 && matches!(roles[index - 1], Role::Assistant | Role::Tool);
            match units.last_mut() {
                Some(unit) if goes_on => unit.end = index + 1,
                _ => units.push(index..index + 1),
            }
        }
        units
    }

    pub fn unit_on(&self, path: PathNumber, message: MessageNumber) -> BTreeSet<MessageNumber> {
        let list = &self.paths[path].list;
        let unit = self.units(path).into_iter().find(|unit| list[unit.clone()].contains(&message));
        unit.map(|unit| list[unit].iter().copied().collect()).unwrap_or_default()
    }

    /// The unit of a message on every path that has a part of it.
    pub fn unit(&self, message: MessageNumber) -> BTreeSet<MessageNumber> {
        let mut unit = BTreeSet::from([message]);
        loop {
            let before = unit.len();
            for path in self.living() {
                for member in unit.clone() {
                    unit.extend(self.unit_on(path, member));
                }
            }
            if unit.len() == before {
                return unit;
            }
        }
    }

    pub fn context(&self, path: PathNumber, max_messages: usize, max_tokens: Option<i64>) -> Context {
        let operation = self.governing(path);
        let governing = operation.map(|number| &self.operations[number]);
        let through = governing.map_or(0, |operation| operation.through);
        let list = &self.paths[path].list;
        let mut candidates: Vec<(Vec<usize>, bool)> = Vec::new();
        for unit in self.units(path) {
            let is_open = unit.end > through;
            let live: Vec<usize> = unit.filter(|index| !self.messages[list[*index]].is_deleted).collect();
            let is_fixed = live.iter().any(|index| {
                self.messages[list[*index]].is_pinned
                    || governing.is_some_and(|operation| operation.kept.contains(&list[*index]))
            });
            let is_whole = live.iter().all(|index| self.messages[list[*index]].is_finished);
            if is_whole && !live.is_empty() && (is_open || is_fixed) {
                candidates.push((live, is_fixed));
            }
        }
        let size = |live: &[usize]| {
            (live.len(), live.iter().map(|index| self.messages[list[*index]].tokens() as i64).sum::<i64>())
        };
        let summary_tokens = governing.map_or(0, |operation| operation.summary.len() as i64 / 4);
        let max_tokens = max_tokens.map(|most| most - summary_tokens);
        let (mut messages, mut tokens) = (0, 0);
        for (live, _) in candidates.iter().filter(|(_, is_fixed)| *is_fixed) {
            let (more_messages, more_tokens) = size(live);
            (messages, tokens) = (messages + more_messages, tokens + more_tokens);
        }
        let mut kept: Vec<usize> = Vec::new();
        let mut is_cut = false;
        for (live, is_fixed) in candidates.iter().rev() {
            if !is_fixed {
                let (more_messages, more_tokens) = size(live);
                (messages, tokens) = (messages + more_messages, tokens + more_tokens);
                if is_cut || messages > max_messages || max_tokens.is_some_and(|most| tokens > most) {
                    is_cut = true;
                    continue;
                }
            }
            kept.extend(live);
        }
        kept.sort_unstable();
        let message = |index: usize| Shown::Message { number: list[index], position: index + 1 };
        let shown = operation.map(Shown::Summary).into_iter().chain(kept.into_iter().map(message)).collect();
        Context { operation, shown, is_cut }
    }

    /// What a merge would bring.
    pub fn news(&self, source: PathNumber, target: PathNumber) -> Vec<MessageNumber> {
        let (from, to) = (&self.paths[source].list, &self.paths[target].list);
        let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        from[common..].to_vec()
    }

    /// Of these messages those that another path does not show, as original or copy; a unit of which a part is new
    /// stays whole.
    pub fn without_copied(
        &self,
        source: PathNumber,
        target: PathNumber,
        messages: Vec<MessageNumber>,
    ) -> Vec<MessageNumber> {
        let is_known = |number: MessageNumber| {
            let copies = self.copies(number);
            let mut shown = self.paths[target].list.iter().filter(|number| copies.contains(number));
            shown.any(|number| !self.messages[*number].is_deleted)
        };
        let new: BTreeSet<MessageNumber> = messages.iter().copied().filter(|number| !is_known(*number)).collect();
        let is_brought = |number: &MessageNumber| !self.unit_on(source, *number).is_disjoint(&new);
        messages.into_iter().filter(is_brought).collect()
    }

    /// A message, what it was copied from, and all copies.
    fn copies(&self, message: MessageNumber) -> BTreeSet<MessageNumber> {
        let mut copies = BTreeSet::from([message]);
        loop {
            let before = copies.len();
            for (number, other) in self.messages.iter().enumerate() {
                if other.copied_from.is_some_and(|origin| copies.contains(&origin)) {
                    copies.insert(number);
                }
                if copies.contains(&number) {
                    copies.extend(other.copied_from);
                }
            }
            if copies.len() == before {
                return copies;
            }
        }
    }

    /// Appends a message to the path that writes it.
    pub fn push(&mut self, message: Message) -> MessageNumber {
        let number = self.messages.len();
        self.paths[message.owner].list.push(number);
        self.messages.push(message);
        number
    }

    /// Reverts what covers a message; gives how many operations.
    pub fn uncover(&mut self, message: MessageNumber) -> usize {
        let covering: Vec<usize> = (0..self.operations.len())
            .filter(|number| {
                let operation = &self.operations[*number];
                operation.state == OperationState::Applied
                    && self.position(operation.path, message).is_some_and(|position| position <= operation.through)
            })
            .collect();
        for number in &covering {
            self.operations[*number].state = OperationState::Reverted;
        }
        covering.len()
    }

    /// A message, what it was copied from, its copies, and the summaries that tell of any of them.
    pub fn traces(&self, message: MessageNumber) -> BTreeSet<MessageNumber> {
        let mut traces = BTreeSet::from([message]);
        loop {
            let before = traces.len();
            for (number, other) in self.messages.iter().enumerate() {
                let is_copy = other.copied_from.is_some_and(|origin| traces.contains(&origin));
                if is_copy || !other.sums_up.is_disjoint(&traces) {
                    traces.insert(number);
                }
                if traces.contains(&number) {
                    traces.extend(other.copied_from);
                }
            }
            if traces.len() == before {
                return traces;
            }
        }
    }
}
