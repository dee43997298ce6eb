//! Whether the suite would notice a mistake in a script: six kinds of small mistakes, at every place of every script,
//! one at a time. Each must be noticed: recorded histories are told again to the changed scripts, and some reply,
//! event or key must differ.
//!
//! What cannot be noticed stands in `survivors.txt`, each with the reason. `SURVIVORS=1` tries those alone, `ONLY=` with
//! names of files, comma between (`admit.lua,lib/hot.lua`), the mutants of these files.

mod edges;
mod golden;
mod lua;
mod operators;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use antigravity_proxy::store::registry::ALL;
use antigravity_proxy::store::script::{Durability, Script};

use self::golden::Golden;
use self::operators::{Mutation, mutations};

/// Least share of mutants that must be noticed, percent.
const WANTED: usize = 95;

/// A script file or a shared piece.
struct File {
    /// Below `src/store/scripts`.
    name: String,
    text: String,
    /// The scripts that it is part of.
    scripts: Vec<&'static Script>,
}

/// One mutation of one file.
struct Mutant<'f> {
    file: &'f File,
    mutation: Mutation,
    /// How `survivors.txt` names it.
    name: String,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/scripts");
    let mut files = Vec::new();
    for folder in ["", "lib/"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let name = format!("{folder}{}", path.file_name().unwrap().to_str().unwrap());
            let scripts: Vec<_> =
                ALL.iter().copied().filter(|script| script.source.contains(&text)).collect();
            assert!(!scripts.is_empty(), "{name} is part of no script");
            files.push(File { name, text, scripts });
        }
    }
    files.sort_by(|left, right| left.name.cmp(&right.name));
    files
}

/// All mutants of `files`; equal ones of one file are numbered.
fn mutants(files: &[File]) -> Vec<Mutant<'_>> {
    let mut mutants = Vec::new();
    for file in files {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for mutation in mutations(&file.text) {
            let name = format!("{} · {} · {}", file.name, mutation.operator, mutation.changed(&file.text));
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            let name = if *count > 1 { format!("{name} #{count}") } else { name };
            mutants.push(Mutant { file, mutation, name });
        }
    }
    mutants
}

impl Mutant<'_> {
    /// The scripts that are others with the mutation.
    fn scripts(&self) -> Vec<&'static Script> {
        let changed = self.mutation.apply(&self.file.text);
        let of = |script: &&'static Script| -> &'static Script {
            // Kept to the end of the run, as scripts are.
            let source: &'static str = script.source.replacen(&self.file.text, &changed, 1).leak();
            Box::leak(Box::new(match script.durability {
                Durability::Fsync => Script::fsync(script.name, source),
                Durability::Periodic => Script::periodic(script.name, source),
            }))
        };
        self.file.scripts.iter().map(of).collect()
    }

    /// Whether it is about the choice of accounts, or about all of them.
    fn chooses(&self) -> bool {
        ["admit.lua", "lib/selection.lua", "list_accounts.lua"].contains(&self.file.name.as_str())
    }

    /// The first history that shows the difference.
    fn noticed_by<'g>(&self, goldens: &'g [Golden]) -> Option<&'g Golden> {
        let scripts = self.scripts();
        goldens
            .iter()
            .filter(|golden| scripts.iter().any(|script| golden.calls(script.name)))
            // Long, and about nothing but the choice of accounts.
            .filter(|golden| !golden.name.starts_with("large_pools") || self.chooses())
            .find(|golden| !golden.told_by(&scripts))
    }
}

/// Entries of `survivors.txt`: names, each followed by lines with the reason.
fn known_survivors() -> BTreeSet<String> {
    let text = include_str!("survivors.txt");
    let mut names = BTreeSet::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).peekable();
    while let Some(name) = lines.next() {
        assert!(!name.starts_with(' '), "a reason without a mutant: {name}");
        assert!(
            lines.next_if(|line| line.starts_with(' ')).is_some(),
            "no reason why nobody notices: {name}"
        );
        while lines.next_if(|line| line.starts_with(' ')).is_some() {}
        assert!(names.insert(name.to_owned()), "twice: {name}");
    }
    names
}

/// The files whose mutants alone are wanted.
#[expect(clippy::disallowed_methods, reason = "long runs are told their size so")]
fn only() -> Option<BTreeSet<String>> {
    Some(std::env::var("ONLY").ok()?.split(',').map(str::to_owned).collect())
}

#[test]
#[ignore = "long: make soak"]
fn a_mistake_in_a_script_is_noticed() {
    let goldens = stories::goldens();
    for golden in &goldens {
        assert!(golden.told_by(&[]), "{} is not told twice alike", golden.name);
    }
    println!("{} histories, {} calls", goldens.len(), goldens.iter().map(Golden::len).sum::<usize>());
    let mut files = files();
    let mut known = known_survivors();
    if let Some(only) = only() {
        files.retain(|file| only.contains(&file.name));
        assert_eq!(files.len(), only.len(), "no such file");
        known.retain(|name| name.split(" · ").next().is_some_and(|file| only.contains(file)));
    }
    let mut mutants = mutants(&files);
    if crate::harness::setting("SURVIVORS") == Some(1) {
        mutants.retain(|mutant| known.contains(&mutant.name));
    }
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(BTreeSet::new());
    let noticed: Mutex<BTreeMap<&str, usize>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(number) else { break };
                    if number.is_multiple_of(500) {
                        println!("{number} of {}", mutants.len());
                    }
                    match mutant.noticed_by(&goldens) {
                        Some(golden) => *noticed.lock().unwrap().entry(&golden.name).or_default() += 1,
                        None => drop(survivors.lock().unwrap().insert(mutant.name.clone())),
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    report(&mutants, &survivors);
    println!("first noticed by: {:?}", noticed.into_inner().unwrap());
    let unknown: Vec<_> = survivors.difference(&known).collect();
    let gone: Vec<_> = known.difference(&survivors).collect();
    assert!(unknown.is_empty(), "{} mistakes that nobody notices: {unknown:#?}", unknown.len());
    assert!(gone.is_empty(), "noticed, or no mutants any more; take them off the list: {gone:#?}");
    let killed = mutants.len() - survivors.len();
    assert!(killed * 100 >= mutants.len() * WANTED, "{killed} of {} are noticed", mutants.len());
}

/// Prints noticed and all mutants by file and operator, and every survivor with its place.
fn report(mutants: &[Mutant<'_>], survivors: &BTreeSet<String>) {
    let mut table: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for mutant in mutants {
        let noticed = usize::from(!survivors.contains(&mutant.name));
        let file = mutant.file.name.as_str();
        for place in [
            (file, mutant.mutation.operator),
            ("all", mutant.mutation.operator),
            (file, "all"),
            ("all", "all"),
        ] {
            let (killed, total) = table.entry(place).or_default();
            *killed += noticed;
            *total += 1;
        }
    }
    for ((file, operator), (killed, total)) in &table {
        println!("{file:28} {operator:22} {killed:5} of {total:5}");
    }
    for mutant in mutants.iter().filter(|mutant| survivors.contains(&mutant.name)) {
        let line = mutant.mutation.line(&mutant.file.text);
        println!("survives: {}:{line}: {}", mutant.file.name, mutant.name);
    }
}
