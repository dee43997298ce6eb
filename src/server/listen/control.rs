//! The control socket: the same application for the service's own user, without credentials.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A listening unix socket that removes its file when dropped.
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Takes the place of a socket that nobody serves; refuses when somebody does.
    ///
    /// The socket is made under another name, restricted to its owner, and then moved to its place, so
    /// that there is no moment in which others could open it. Its directory is made where there is none, for
    /// its owner alone: only an embedded store has made it before.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another gateway serves it; give this one a DATA_DIR of its own",
            ));
        }
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _address)| stream)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // The listener still stands here, so no successor can have taken the place.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "control socket not removed");
        }
    }
}
