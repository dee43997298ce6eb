use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use serde_json::json;

use super::*;

struct Home {
    directory: tempfile::TempDir,
    file: SettingsFile,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = SettingsFile::new(&directory.path().join(".claude"));
        Self { directory, file }
    }

    fn with(text: &str) -> Self {
        let home = Self::new();
        fs::create_dir(home.file.path().parent().unwrap()).unwrap();
        fs::write(home.file.path(), text).unwrap();
        home
    }

    fn set(&self, name: &str, value: &str) -> Result<Map<String, Value>, ClaudeError> {
        self.file.update(|document| {
            document.insert(name.to_owned(), value.into());
            Ok(())
        })
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file.path().parent().unwrap()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn reason(told: Result<Map<String, Value>, ClaudeError>) -> String {
    match told {
        Err(ClaudeError::Unusable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_file_is_made_for_its_owner_only() {
    let home = Home::new();
    assert!(home.file.read().unwrap().document.is_empty());
    home.set("a", "b").unwrap();
    assert_eq!(home.text(), "{\n  \"a\": \"b\"\n}\n");
    assert_eq!((mode(home.file.path()), mode(home.file.path().parent().unwrap())), (0o600, 0o700));
    assert_eq!(home.names(), ["settings.json"], "there was nothing to keep");
}

#[test]
fn order_mode_and_the_version_before_are_kept() {
    let before = r#"{"z": 1, "a": {"deep": [1, 2.50]}, "m": "é"}"#;
    let home = Home::with(before);
    fs::set_permissions(home.file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    home.set("new", "1").unwrap();
    let text = home.text();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"z": 1, "a": {"deep": [1, 2.5]}, "m": "é", "new": "1"})
    );
    assert!(text.find("\"z\"").unwrap() < text.find("\"a\"").unwrap());
    assert_eq!(mode(home.file.path()), 0o640);
    let backup = home.file.path().with_file_name("settings.json.bak");
    assert_eq!((fs::read_to_string(&backup).unwrap(), mode(&backup)), (before.to_owned(), 0o640));
    home.set("new", "2").unwrap();
    assert_eq!(fs::read_to_string(&backup).unwrap(), text, "one backup");
    assert_eq!(home.names(), ["settings.json", "settings.json.bak"]);
    // What changes nothing writes nothing.
    let inode = fs::metadata(home.file.path()).unwrap().ino();
    home.set("new", "2").unwrap();
    assert_eq!(fs::metadata(home.file.path()).unwrap().ino(), inode);
}

#[test]
fn what_is_no_settings_file_stays_as_it_is() {
    for (text, part) in [
        ("{", "not valid JSON (line 1, column 1)"),
        ("{\"a\": 1,}", "not valid JSON"),
        ("// comment\n{}", "not valid JSON"),
        ("[]", "no JSON object"),
        ("\"text\"", "no JSON object"),
        (r#"{"env": ["x"]}"#, "env is no JSON object"),
        (r#"{"env": null}"#, "env is no JSON object"),
    ] {
        let home = Home::with(text);
        assert!(reason(home.set("a", "b")).contains(part), "{text}");
        assert_eq!((home.text().as_str(), home.names()), (text, vec!["settings.json".to_owned()]));
    }
    let large = Home::with(&format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024)));
    assert!(reason(large.set("a", "b")).contains("larger"));
    for empty in ["", " \n"] {
        let home = Home::with(empty);
        home.set("a", "b").unwrap();
        assert_eq!(home.text(), "{\n  \"a\": \"b\"\n}\n");
    }
    let home = Home::new();
    fs::create_dir_all(home.file.path()).unwrap();
    assert!(reason(home.set("a", "b")).contains("no regular file"));
}

#[test]
fn links_are_followed_to_files_of_the_same_user() {
    let home = Home::new();
    fs::create_dir(home.file.path().parent().unwrap()).unwrap();
    let real = home.directory.path().join("dotfiles.json");
    symlink(&real, home.file.path()).unwrap();
    assert!(reason(home.set("a", "b")).contains("not there"));
    fs::write(&real, "{}").unwrap();
    home.set("a", "b").unwrap();
    assert!(fs::symlink_metadata(home.file.path()).unwrap().is_symlink(), "the link stays");
    assert_eq!(fs::read_to_string(&real).unwrap(), "{\n  \"a\": \"b\"\n}\n");
    assert!(home.directory.path().join("dotfiles.json.bak").exists(), "beside the file");
    fs::remove_file(home.file.path()).unwrap();
    symlink("/dev/null", home.file.path()).unwrap();
    assert!(home.set("a", "b").is_err());
}

#[test]
fn a_file_that_somebody_else_owns_is_not_reached_through_a_link() {
    let home = Home::new();
    fs::create_dir(home.file.path().parent().unwrap()).unwrap();
    let foreign = home.directory.path().join("foreign.json");
    fs::write(&foreign, "{}").unwrap();
    if std::os::unix::fs::chown(&foreign, Some(12_345), None).is_err() {
        // Only root can give files away; the rule needs a second user.
        return;
    }
    symlink(&foreign, home.file.path()).unwrap();
    assert!(reason(home.set("a", "b")).contains("another user"));
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "{}");
    // Its own file of another user keeps its owner.
    fs::remove_file(home.file.path()).unwrap();
    fs::rename(&foreign, home.file.path()).unwrap();
    home.set("a", "b").unwrap();
    assert_eq!(fs::metadata(home.file.path()).unwrap().uid(), 12_345);
}

#[test]
fn a_change_of_another_program_is_not_lost() {
    let home = Home::with(r#"{"theirs": 1}"#);
    let mut rival = vec![3, 2];
    let told = home.file.update(|document| {
        // It writes between reading and writing, twice.
        if let Some(number) = rival.pop() {
            fs::write(home.file.path(), json!({"theirs": number}).to_string()).unwrap();
        }
        document.insert("ours".to_owned(), 1.into());
        Ok(())
    });
    assert_eq!(told.map(Value::Object), Ok(json!({"theirs": 3, "ours": 1})));
    assert_eq!(serde_json::from_str::<Value>(&home.text()).unwrap(), json!({"theirs": 3, "ours": 1}));
    let mut number = 0;
    let told = home.file.update(|document| {
        number += 1;
        fs::write(home.file.path(), json!({"theirs": number + 10}).to_string()).unwrap();
        document.insert("ours".to_owned(), 2.into());
        Ok(())
    });
    assert!(matches!(told, Err(ClaudeError::Busy(_))), "{told:?}");
    assert!(!home.names().iter().any(|name| name.contains(".tmp")), "{:?}", home.names());
}
