//! Tool schemas: JSON Schema to the subset that Google's function declarations take.
//!
//! One pass over a borrowed tree, written straight into the output (spec `conversion.md` §13.1). The result has the keys
//! `type, description, properties, required, items, enum` only, in this order, with the client's own order of
//! properties, and depends on nothing but the schema. Converting a result again changes nothing.
//!
//! What the target cannot express is kept where a model can use it, in the description, as `base (hint) (hint)`:
//!
//! | Schema | Becomes |
//! |---|---|
//! | local `$ref` | its definition, with what stands beside the reference on top; a cycle or another document: `See: Name` |
//! | `allOf` | merged: later properties replace earlier ones, `required` is united, the parent wins |
//! | `then`, `else` | their properties, none of them required |
//! | union of constants | one `enum` |
//! | union with objects | an object with the properties of all options; required is what all of them require; `One of: a, b \| c` |
//! | other union, several types | the most telling option, `Accepts: string \| array` |
//! | `null` among types, options or values | `nullable`, and the property is not required |
//! | `enum`, `const` | `enum` for strings; `Allowed: 1, 2` in words |
//! | `minimum` … `uniqueItems`, `format`, `pattern` | `minimum: 1` and so on |
//! | `additionalProperties: false` | `No extra properties allowed` |
//! | `additionalProperties`, `patternProperties`, `propertyNames` as schemas | `Other properties: string`, `Properties matching ^x: string`, `Property names: a, b` |
//! | tuple | the first element's schema, `Accepts: string \| number` when they differ |
//! | no type | the one that the other keywords speak of, else a string |
//! | object without properties | one required string `reason`: the upstream refuses empty objects |
//! | `title, default, examples, $comment, not, if, dependent…, contains` and unknown keywords | nothing |

mod description;
mod tree;
mod view;

use std::borrow::Cow;

use super::request::write_string;
use tree::Tree;
use view::{Kind, Links, Schema, View};

/// How many references may be open above a node before one becomes a hint.
const MAX_REFERENCES: usize = 256;
/// How deep the result may be; deeper nodes become strings. Each level is two of JSON, of which the upstream takes 100.
const MAX_DEPTH: usize = 32;
/// How many references, members and options one node may be reached through.
const MAX_LINKS: usize = 64;
/// How many nodes one schema may have after inlining; what lies beyond becomes a string. Shared definitions that refer
/// to each other twice would otherwise double with every level.
const MAX_NODES: usize = 10_000;

/// Converts the root schema of a tool, given as JSON text; anything but an object becomes the placeholder.
#[must_use]
pub fn convert(json: &str) -> Vec<u8> {
    let Some(root @ Tree::Map(_)) = Tree::read(json) else { return placeholder() };
    let mut pass = Pass::new(&root);
    let mut out = Vec::with_capacity(json.len());
    let mut view = pass.view(&Schema::One(&root), 0);
    pass.references.append(&mut view.opened);
    if view.properties.is_empty() && view.kind().is_some_and(|kind| kind != Kind::Object) {
        return placeholder();
    }
    pass.write(&mut out, view, Kind::Object, 0, true);
    out
}

/// What a tool without parameters takes: one required string that says why it is called.
#[must_use]
pub fn placeholder() -> Vec<u8> {
    [b"{\"type\":\"OBJECT\",", REASON, b"}"].concat()
}

/// `VALIDATED` mode refuses objects without properties.
const REASON: &[u8] = b"\"properties\":{\"reason\":{\"type\":\"STRING\",\
    \"description\":\"Reason for calling this tool\"}},\"required\":[\"reason\"]";

/// One conversion.
struct Pass<'t, 'a> {
    root: &'t Tree<'a>,
    /// The members of `$defs` and `definitions`, once a reference asked for one.
    definitions: Option<tree::Definitions<'t, 'a>>,
    /// References that are being inlined; one that occurs again is a cycle. They stay open until all below their
    /// node is written.
    references: Vec<Cow<'t, str>>,
    nodes: usize,
}

impl<'t, 'a> Pass<'t, 'a> {
    fn new(root: &'t Tree<'a>) -> Self {
        Self { root, definitions: None, references: Vec::new(), nodes: 0 }
    }

    /// Writes the node of `schema`; whether it is nullable. `hint` goes to the end of its description.
    fn node(&mut self, out: &mut Vec<u8>, schema: &Schema<'t, 'a>, depth: usize, hint: Option<&str>) -> bool {
        if depth > MAX_DEPTH {
            out.extend_from_slice(b"{\"type\":\"STRING\"}");
            return false;
        }
        let mut view = self.view(schema, 0);
        view.hints.extend(hint.map(str::to_owned));
        let open = self.references.len();
        self.references.append(&mut view.opened);
        let kind = view.kind().unwrap_or(Kind::String);
        let nullable = view.nullable;
        self.write(out, view, kind, depth, false);
        self.references.truncate(open);
        nullable
    }

    /// Whether one more schema may be looked into, so many links from its node.
    fn enter(&mut self, links: usize) -> bool {
        self.nodes += 1;
        links <= MAX_LINKS && self.nodes <= MAX_NODES
    }

    /// The keywords of `schema`, its references, `allOf`, unions and branches resolved.
    fn view(&mut self, schema: &Schema<'t, 'a>, links: usize) -> View<'t, 'a> {
        match schema {
            Schema::One(Tree::Map(map)) => self.resolved(map, links),
            Schema::One(_) => View::default(),
            Schema::All(list) => {
                let mut views = list.iter();
                let Some(lowest) = views.next() else { return View::default() };
                let lowest = self.view(lowest, links);
                views.fold(lowest, |below, above| self.view(above, links).over(below))
            }
            Schema::Any(list) => self.one_of(View::default(), list.iter(), links),
        }
    }

    fn resolved(&mut self, map: &'t tree::Map<'a>, links: usize) -> View<'t, 'a> {
        let mut ways = Links::default();
        let mut view = View::of(map, &mut ways);
        if !self.enter(links) {
            return View { description: view.description, ..View::default() };
        }
        if let Some(reference) = ways.reference {
            view = view.over(self.referred(reference, links));
        }
        if !ways.members.is_empty() {
            let mut merged = View::default();
            for member in ways.members {
                let member = self.view(&Schema::One(member), links + 1);
                merged.and(member);
            }
            view = view.over(merged);
        }
        for options in ways.options {
            if !options.is_empty() {
                let maps = options.iter().filter(|option| matches!(option, Tree::Map(_)));
                let options: Vec<_> = maps.map(Schema::One).collect();
                view = self.one_of(view, options.iter(), links);
            }
        }
        for branch in ways.branches.into_iter().flatten() {
            let branch = self.view(&Schema::One(branch), links + 1);
            view.may_have(branch);
        }
        view
    }

    /// The definition behind `reference`, or its name.
    fn referred(&mut self, reference: Cow<'t, str>, links: usize) -> View<'t, 'a> {
        let open = self.references.len() >= MAX_REFERENCES || self.references.contains(&reference);
        let target = if open { None } else { self.root.resolve(&reference, &mut self.definitions) };
        let Some(target @ Tree::Map(_)) = target else { return View::named(&reference) };
        self.references.push(reference);
        let mut view = self.view(&Schema::One(target), links + 1);
        view.opened.extend(self.references.pop());
        view
    }

    /// `view` with what `options` have to say, of which one holds.
    fn one_of<'s>(
        &mut self,
        mut view: View<'t, 'a>,
        options: impl Iterator<Item = &'s Schema<'t, 'a>>,
        links: usize,
    ) -> View<'t, 'a>
    where
        't: 's,
        'a: 's,
    {
        let mut real = Vec::new();
        for option in options {
            let option = self.view(option, links + 1);
            if option.is_null() {
                view.nullable = true;
            } else {
                real.push(option);
            }
        }
        view.with_options(real)
    }

    fn write(&mut self, out: &mut Vec<u8>, view: View<'t, 'a>, kind: Kind, depth: usize, root: bool) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.upstream());
        out.push(b'"');
        description::of(&view, kind, root).write(out);
        match kind {
            Kind::Object => self.write_properties(out, view, depth),
            Kind::Array => self.write_items(out, &view, depth),
            Kind::String => write_values(out, &view),
            Kind::Number | Kind::Integer | Kind::Boolean => {}
        }
        out.push(b'}');
    }

    fn write_properties(&mut self, out: &mut Vec<u8>, view: View<'t, 'a>, depth: usize) {
        out.push(b',');
        let properties = view.properties;
        if properties.is_empty() {
            out.extend_from_slice(REASON);
            return;
        }
        out.extend_from_slice(b"\"properties\":{");
        // What may be left out, or is listed as required already.
        let mut settled = Vec::with_capacity(properties.len());
        for (index, (name, schema)) in properties.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, name);
            out.push(b':');
            settled.push(self.node(out, schema, depth + 1, None));
        }
        out.push(b'}');
        let mut before = b",\"required\":[".as_slice();
        for name in view.required {
            let Some(index) = properties.get_index_of(name.as_ref()) else { continue };
            if !std::mem::replace(&mut settled[index], true) {
                out.extend_from_slice(before);
                write_string(out, &name);
                before = b",";
            }
        }
        if before == b"," {
            out.push(b']');
        }
    }

    fn write_items(&mut self, out: &mut Vec<u8>, view: &View<'t, 'a>, depth: usize) {
        out.extend_from_slice(b",\"items\":");
        match &view.items[..] {
            [] => out.extend_from_slice(b"{\"type\":\"STRING\"}"),
            [schema] => {
                self.node(out, &Schema::One(schema), depth + 1, None);
            }
            [first, ..] => {
                let elements = view.items.iter();
                let kinds: Vec<Kind> = elements
                    .map(|&schema| self.view(&Schema::One(schema), 0).kind().unwrap_or(Kind::String))
                    .collect();
                let differ = kinds.iter().any(|kind| *kind != kinds[0]);
                let hint = if differ { description::accepts(&kinds) } else { None };
                self.node(out, &Schema::One(first), depth + 1, hint.as_deref());
            }
        }
    }
}

/// The values of a string as a list of strings.
fn write_values(out: &mut Vec<u8>, view: &View<'_, '_>) {
    let Some(values) = &view.values else { return };
    let mut before = b",\"enum\":[".as_slice();
    for text in description::written(values) {
        out.extend_from_slice(before);
        write_string(out, &text);
        before = b",";
    }
    if before == b"," {
        out.push(b']');
    }
}

#[cfg(test)]
mod tests;
