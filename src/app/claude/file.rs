//! The settings file of Claude Code on this machine. It belongs to a person: it is replaced as a whole or not at all,
//! keeps its owner and mode, and the version before is beside it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::server::gateway::claude::ClaudeError;

/// Largest file that is read.
const LARGEST: u64 = 1024 * 1024;
/// How often a change is made anew because another program was faster.
const TRIES: usize = 3;

/// A file that may or may not be there.
#[derive(Clone, Debug)]
pub(super) struct SettingsFile {
    path: PathBuf,
}

/// What the file holds now.
pub(super) struct Found {
    /// Where it really lies, behind links.
    place: PathBuf,
    /// `None` where it is not there.
    meta: Option<Metadata>,
    bytes: Vec<u8>,
    /// Its settings; none where it is empty or not there.
    pub(super) document: Map<String, Value>,
}

impl SettingsFile {
    /// The one in Claude Code's own directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join("settings.json") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn unusable(&self, reason: impl Into<String>) -> ClaudeError {
        ClaudeError::Unusable { path: self.path.clone(), reason: reason.into() }
    }

    fn failed(&self, error: &io::Error) -> ClaudeError {
        ClaudeError::Io { path: self.path.clone(), reason: error.to_string() }
    }

    /// Reads it.
    pub(super) fn read(&self) -> Result<Found, ClaudeError> {
        let Some(place) = self.place()? else {
            return Ok(Found {
                place: self.path.clone(),
                meta: None,
                bytes: Vec::new(),
                document: Map::new(),
            });
        };
        let meta = fs::metadata(&place).map_err(|error| self.failed(&error))?;
        if !meta.is_file() {
            // Opening something else may wait for ever.
            return Err(self.unusable("it is no regular file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&place).map_err(|error| self.failed(&error))?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| self.failed(&error))?;
        if bytes.len() as u64 > LARGEST {
            return Err(self.unusable("it is larger than 1 MiB"));
        }
        let document = if bytes.trim_ascii().is_empty() {
            Map::new()
        } else {
            match serde_json::from_slice(&bytes) {
                Ok(Value::Object(document)) if document.get("env").is_none_or(Value::is_object) => document,
                Ok(Value::Object(_)) => return Err(self.unusable("its env is no JSON object")),
                Ok(_) => return Err(self.unusable("it is no JSON object")),
                Err(error) => {
                    let (line, column) = (error.line(), error.column());
                    return Err(self.unusable(format!(
                        "it is not valid JSON (line {line}, column {column}); mend it by hand first"
                    )));
                }
            }
        };
        Ok(Found { place, meta: Some(meta), bytes, document })
    }

    /// Where the file really lies; `None` where nothing is. A link to a file of somebody else is not followed: whoever
    /// may put links here could have any file changed by a gateway that may do more.
    fn place(&self) -> Result<Option<PathBuf>, ClaudeError> {
        let link = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| self.failed(&error))?,
        };
        if !link.is_symlink() {
            return Ok(Some(self.path.clone()));
        }
        let place = match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unusable("it is a link to a file that is not there"));
            }
            found => found.map_err(|error| self.failed(&error))?,
        };
        let target = fs::metadata(&place).map_err(|error| self.failed(&error))?;
        if same_owner(&link, &target) {
            Ok(Some(place))
        } else {
            Err(self.unusable("it is a link to a file of another user"))
        }
    }

    /// Changes the settings; `edit` is told what they are, perhaps several times. Nothing is written when it changes
    /// nothing.
    pub(super) fn update(
        &self,
        mut edit: impl FnMut(&mut Map<String, Value>) -> Result<(), ClaudeError>,
    ) -> Result<Map<String, Value>, ClaudeError> {
        for _ in 0..TRIES {
            let found = self.read()?;
            let mut document = found.document.clone();
            edit(&mut document)?;
            if document == found.document {
                return Ok(document);
            }
            if self.replace(&found, &document)? {
                return Ok(document);
            }
        }
        Err(ClaudeError::Busy(self.path.clone()))
    }

    /// Writes `document` in place of what was found; `false` when the file is another one by now.
    fn replace(&self, found: &Found, document: &Map<String, Value>) -> Result<bool, ClaudeError> {
        let Some(directory) = found.place.parent() else { return Err(self.unusable("it has no directory")) };
        if found.meta.is_none() {
            create_directory(directory).map_err(|error| self.failed(&error))?;
        }
        let mut text =
            serde_json::to_vec_pretty(document).map_err(|_| self.unusable("it cannot be written"))?;
        text.push(b'\n');
        let new =
            Draft::write(&found.place, &text, found.meta.as_ref()).map_err(|error| self.failed(&error))?;
        let backup = match &found.meta {
            Some(meta) => {
                let draft = Draft::write(&found.place, &found.bytes, Some(meta));
                Some(draft.map_err(|error| self.failed(&error))?)
            }
            None => None,
        };
        let now = self.read();
        if !now.is_ok_and(|now| now.bytes == found.bytes && now.meta.is_some() == found.meta.is_some()) {
            return Ok(false);
        }
        if let Some(backup) = backup {
            let mut name = found.place.clone().into_os_string();
            name.push(".bak");
            backup.become_file(Path::new(&name)).map_err(|error| self.failed(&error))?;
        }
        new.become_file(&found.place).map_err(|error| self.failed(&error))?;
        sync(directory).map_err(|error| self.failed(&error))?;
        Ok(true)
    }
}

/// A new file beside the one that it is to replace; gone again unless it does.
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// With the owner and mode of `like`, else for its owner only.
    fn write(beside: &Path, text: &[u8], like: Option<&Metadata>) -> io::Result<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let suffix = u64::from_le_bytes(random);
        let name = beside.file_name().unwrap_or_default().to_string_lossy();
        let path = beside.with_file_name(format!(".{name}.{suffix:016x}.tmp"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let draft = Self { path, kept: false };
        file.write_all(text)?;
        if let Some(like) = like {
            resemble(&file, like)?;
        }
        file.sync_all()?;
        Ok(draft)
    }

    fn become_file(mut self, place: &Path) -> io::Result<()> {
        fs::rename(&self.path, place)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // A file that nobody reads is all that stays when this fails.
            fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(unix)]
fn same_owner(link: &Metadata, target: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    link.uid() == target.uid()
}

/// Files have no owners to compare.
#[cfg(not(unix))]
fn same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Owner first: changing it may take bits of the mode away.
#[cfg(unix)]
fn resemble(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))
}

#[cfg(not(unix))]
fn resemble(file: &File, like: &Metadata) -> io::Result<()> {
    file.set_permissions(like.permissions())
}

/// For its owner only, where it is new.
fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Directories are not files there.
#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
