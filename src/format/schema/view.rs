//! The keywords of one node, and how those of several nodes become one.
//!
//! Nothing of the tree is copied: a view holds references, and where several schemas speak about one property it holds
//! them all.

use std::borrow::Cow;
use std::collections::HashSet;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::description::{self, Description};
use super::tree::{Map, Tree};
use crate::anthropic::json::JsonStr;

/// The types of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Number,
    Integer,
    Boolean,
    Array,
    Object,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::String, Self::Number, Self::Integer, Self::Boolean, Self::Array, Self::Object];

    /// What JSON Schema calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// What the target calls it.
    pub(super) fn upstream(self) -> &'static [u8] {
        match self {
            Self::String => b"STRING",
            Self::Number => b"NUMBER",
            Self::Integer => b"INTEGER",
            Self::Boolean => b"BOOLEAN",
            Self::Array => b"ARRAY",
            Self::Object => b"OBJECT",
        }
    }

    /// Any case is taken; a type that the target does not have is a string.
    fn read(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name)).unwrap_or(Self::String)
    }

    /// The type that all `values` have; `null` has none.
    fn of(values: &[&Tree<'_>]) -> Option<Self> {
        let mut real = values.iter().filter(|value| !matches!(value, Tree::Null)).map(|value| match value {
            Tree::Bool(_) => Self::Boolean,
            Tree::Number(text) if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => Self::Integer,
            Tree::Number(_) => Self::Number,
            _ => Self::String,
        });
        let first = real.next()?;
        Some(real.fold(first, |all, kind| match (all, kind) {
            (all, kind) if all == kind => all,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => Self::Number,
            _ => Self::String,
        }))
    }
}

/// The score of an object among the options of a union.
const OBJECT: u8 = 3;

/// What is said about one value.
#[derive(Clone, Debug)]
pub(super) enum Schema<'t, 'a> {
    One(&'t Tree<'a>),
    /// All of them hold, the last one above all.
    All(Vec<Schema<'t, 'a>>),
    /// One of them holds.
    Any(Vec<Schema<'t, 'a>>),
}

/// Keywords that become hints, in the order of the hints.
pub(super) const CONSTRAINTS: [&str; 15] = [
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "format",
];

/// The keywords of one node.
#[derive(Debug, Default)]
pub(super) struct View<'t, 'a> {
    pub(super) description: Description<'t>,
    /// The types named, `null` left out.
    pub(super) kinds: Vec<Kind>,
    /// `null` is among types, values or options.
    pub(super) nullable: bool,
    pub(super) properties: IndexMap<&'t str, Schema<'t, 'a>>,
    pub(super) required: Vec<Cow<'t, str>>,
    /// One schema, or those of a tuple.
    pub(super) items: Vec<&'t Tree<'a>>,
    /// `enum` or `const`; the values of joined options.
    pub(super) values: Option<Vec<&'t Tree<'a>>>,
    pub(super) constraints: [Option<&'t Tree<'a>>; CONSTRAINTS.len()],
    /// `additionalProperties`
    pub(super) others: Option<&'t Tree<'a>>,
    /// `patternProperties`
    pub(super) matching: Option<&'t Map<'a>>,
    /// `propertyNames`
    pub(super) names: Option<&'t Tree<'a>>,
    /// References that were inlined for this node.
    pub(super) opened: Vec<Cow<'t, str>>,
    /// Further hints, in order.
    pub(super) hints: Vec<String>,
    /// `properties` or a list of items was there, empty or not.
    pub(super) shaped: Option<Kind>,
}

impl<'t, 'a> View<'t, 'a> {
    /// The type named or, without one, the type that the other keywords speak of.
    pub(super) fn kind(&self) -> Option<Kind> {
        if let Some(kind) = self.kinds.first() {
            return Some(*kind);
        }
        if self.shaped.is_some() {
            return self.shaped;
        }
        if let Some(values) = &self.values {
            return Some(Kind::of(values).unwrap_or(Kind::String));
        }
        let has = |names: &[&str]| {
            CONSTRAINTS
                .iter()
                .zip(&self.constraints)
                .any(|(name, value)| value.is_some() && names.contains(name))
        };
        let map = |tree: Option<&Tree<'_>>| matches!(tree, Some(Tree::Map(_)));
        if map(self.others) || self.matching.is_some() || map(self.names) || has(&["minProperties"]) {
            Some(Kind::Object)
        } else if has(&["minItems", "maxItems", "uniqueItems"]) {
            Some(Kind::Array)
        } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
            Some(Kind::Number)
        } else if has(&["minLength", "maxLength", "pattern", "format"]) {
            Some(Kind::String)
        } else {
            None
        }
    }

    /// The keywords of `map` as they stand; what leads to other schemas goes to `links`.
    pub(super) fn of(map: &'t Map<'a>, links: &mut Links<'t, 'a>) -> Self {
        let mut view = Self::default();
        let (mut constant, mut values) = (None, None);
        for (name, value) in map {
            match (name.as_ref(), value) {
                ("description", value) => view.description = Description::of(value),
                ("type", value) => view.set_kinds(value),
                ("properties", Tree::Map(properties)) => {
                    view.shaped = Some(Kind::Object);
                    view.properties = properties
                        .iter()
                        .map(|(name, schema)| (name.as_ref(), Schema::One(schema)))
                        .collect();
                }
                ("required", Tree::List(names)) => {
                    view.required = names.iter().filter_map(Tree::text).collect();
                }
                ("items", schema @ Tree::Map(_)) if view.items.is_empty() => {
                    view.shaped = view.shaped.or(Some(Kind::Array));
                    view.items = vec![schema];
                }
                ("items" | "prefixItems", Tree::List(tuple)) => {
                    view.shaped = view.shaped.or(Some(Kind::Array));
                    view.items = tuple.iter().collect();
                }
                ("items", _) => view.shaped = view.shaped.or(Some(Kind::Array)),
                ("enum", Tree::List(list)) => values = Some(list.iter().collect()),
                ("const", value) => constant = Some(vec![value]),
                ("additionalProperties", value) => view.others = Some(value),
                ("patternProperties", Tree::Map(patterns)) if !patterns.is_empty() => {
                    view.matching = Some(patterns);
                }
                ("propertyNames", value) => view.names = Some(value),
                ("$ref", Tree::Text(_)) => links.reference = value.text().filter(|text| !text.is_empty()),
                ("allOf", Tree::List(members)) => links.members = members,
                ("anyOf", Tree::List(options)) => links.options[0] = options,
                ("oneOf", Tree::List(options)) => links.options[1] = options,
                ("then", schema @ Tree::Map(_)) => links.branches[0] = Some(schema),
                ("else", schema @ Tree::Map(_)) => links.branches[1] = Some(schema),
                (name, Tree::Text(_) | Tree::Number(_) | Tree::Bool(_)) => {
                    if let Some(at) = CONSTRAINTS.iter().position(|own| *own == name) {
                        view.constraints[at] = Some(value);
                    }
                }
                _ => {}
            }
        }
        view.values = values.or(constant);
        view.nullable |= view.values.iter().flatten().any(|value| matches!(value, Tree::Null));
        view
    }

    /// An object of which only the name is known.
    pub(super) fn named(reference: &str) -> Self {
        let name = reference.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
        Self { kinds: vec![Kind::Object], hints: vec![format!("See: {name}")], ..Self::default() }
    }

    /// How much an option of a union tells: objects over arrays over scalars over nothing.
    fn score(&self) -> u8 {
        match self.kind() {
            _ if !self.properties.is_empty() => OBJECT,
            Some(Kind::Object) => OBJECT,
            Some(Kind::Array) => 2,
            Some(_) => 1,
            None => 0,
        }
    }

    fn set_kinds(&mut self, tree: &Tree<'_>) {
        let one = std::slice::from_ref(tree);
        let names = if let Tree::List(list) = tree { list } else { one };
        self.kinds.clear();
        for name in names.iter().filter_map(Tree::filled).map(JsonStr::decode) {
            if name.eq_ignore_ascii_case("null") {
                self.nullable = true;
            } else {
                self.kinds.push(Kind::read(&name));
            }
        }
    }

    /// Takes what `other` says where it says nothing itself; properties and what is required are left to the caller.
    fn fill(&mut self, other: Self) {
        self.description.fill(other.description);
        if self.kinds.is_empty() {
            self.kinds = other.kinds;
        }
        self.shaped = self.shaped.or(other.shaped);
        if self.items.is_empty() {
            self.items = other.items;
        }
        self.values = self.values.take().or(other.values);
        for (own, theirs) in self.constraints.iter_mut().zip(other.constraints) {
            *own = own.or(theirs);
        }
        self.others = self.others.or(other.others);
        self.matching = self.matching.or(other.matching);
        self.names = self.names.or(other.names);
        self.nullable |= other.nullable;
        self.opened.extend(other.opened);
        self.hints.extend(other.hints);
    }

    /// One more member of an `allOf`: its properties go on top, in all else the members before it win.
    pub(super) fn and(&mut self, mut member: Self) {
        put_on_top(&mut self.properties, std::mem::take(&mut member.properties));
        self.required.append(&mut member.required);
        self.fill(member);
    }

    /// `self` on top of what it builds upon, whose properties come first.
    pub(super) fn over(mut self, mut base: Self) -> Self {
        let own = std::mem::replace(&mut self.properties, std::mem::take(&mut base.properties));
        put_on_top(&mut self.properties, own);
        base.required.append(&mut self.required);
        self.required = std::mem::take(&mut base.required);
        self.fill(base);
        self
    }

    /// `self` with the options of a union that it takes, one at least.
    pub(super) fn with_options(mut self, options: Vec<Self>) -> Self {
        let kinds: Vec<_> = options.iter().filter_map(Self::kind).collect();
        if options.len() > 1 && self.join_values(&options) {
            return self;
        }
        let accepts = description::accepts(&kinds);
        let best = options.iter().map(Self::score).max().unwrap_or(0);
        let mut winners = options.into_iter().filter(|option| option.score() == best);
        let Some(mut winner) = winners.next() else { return self };
        if best == OBJECT {
            winner.join_objects(winners.collect());
        }
        let description = std::mem::replace(&mut self.description, std::mem::take(&mut winner.description));
        let option = std::mem::replace(&mut self.description, description);
        let mut joined = winner.over(self);
        joined.description.add(option);
        joined.hints.extend(accepts);
        joined
    }

    /// Options that are nothing but constants of one type become the values of this node.
    fn join_values(&mut self, options: &[Self]) -> bool {
        let kind = options[0].kind();
        // What says more than its values would lose the rest.
        let constant = |option: &Self| option.values.is_some() && option.shaped.is_none();
        if options.iter().any(|option| !constant(option) || option.kind() != kind) {
            return false;
        }
        let values: Vec<_> =
            options.iter().flat_map(|option| option.values.iter().flatten().copied()).collect();
        let told: Vec<_> = options.iter().filter_map(Self::told).collect();
        self.kinds = kind.into_iter().collect();
        self.values = Some(values);
        if !told.is_empty() {
            self.hints.push(told.join("; "));
        }
        true
    }

    /// What is said about a constant: `value: description`.
    fn told(&self) -> Option<String> {
        let [value] = &self.values.as_ref()?[..] else { return None };
        Some(format!("{}: {}", description::shown(value), self.description.decode()?))
    }

    /// Objects of which one holds become one that has the properties of all; it requires what each of them does.
    fn join_objects(&mut self, others: Vec<Self>) {
        if others.is_empty() {
            return;
        }
        let sets = std::iter::once(&*self).chain(&others).map(|option| option.properties.keys().copied());
        let sets: Vec<Vec<_>> = sets.map(Iterator::collect).collect();
        self.hints.extend(description::one_of(&sets));
        for mut other in others {
            self.opened.append(&mut other.opened);
            let theirs: HashSet<_> = other.required.into_iter().collect();
            self.required.retain(|name| theirs.contains(name));
            for (name, schema) in other.properties {
                match self.properties.entry(name) {
                    Entry::Vacant(place) => _ = place.insert(schema),
                    Entry::Occupied(mut place) => match place.get_mut() {
                        Schema::Any(list) => list.push(schema),
                        one => {
                            let first = std::mem::replace(one, Schema::Any(Vec::new()));
                            *one = Schema::Any(vec![first, schema]);
                        }
                    },
                }
            }
        }
    }

    /// The properties of a branch may be there, depending on others.
    pub(super) fn may_have(&mut self, branch: Self) {
        self.opened.extend(branch.opened);
        for (name, schema) in branch.properties {
            self.shaped = Some(Kind::Object);
            self.properties.entry(name).or_insert(schema);
        }
    }

    /// Whether `null` is all that is taken.
    pub(super) fn is_null(&self) -> bool {
        let nothing = |values: &Vec<&Tree<'_>>| values.iter().all(|value| matches!(value, Tree::Null));
        self.nullable
            && self.kinds.is_empty()
            && self.shaped.is_none()
            && self.values.as_ref().is_none_or(nothing)
    }
}

fn put_on_top<'t, 'a>(
    below: &mut IndexMap<&'t str, Schema<'t, 'a>>,
    above: IndexMap<&'t str, Schema<'t, 'a>>,
) {
    if below.is_empty() {
        *below = above;
        return;
    }
    for (name, schema) in above {
        match below.entry(name) {
            Entry::Vacant(place) => _ = place.insert(schema),
            Entry::Occupied(mut place) => {
                let lower = std::mem::replace(place.get_mut(), Schema::All(Vec::new()));
                place.insert(Schema::All(vec![lower, schema]));
            }
        }
    }
}

/// What leads from a node to other schemas.
#[derive(Debug, Default)]
pub(super) struct Links<'t, 'a> {
    /// `$ref`
    pub(super) reference: Option<Cow<'t, str>>,
    /// `allOf`
    pub(super) members: &'t [Tree<'a>],
    /// `anyOf` and `oneOf`
    pub(super) options: [&'t [Tree<'a>]; 2],
    /// `then` and `else`
    pub(super) branches: [Option<&'t Tree<'a>>; 2],
}
